"""How soon a page of 2,000 trials of 12 epochs paints and answers, and what watching costs a search.

    python tests/benchmarks/dashboard.py [--quick]

The page is opened in chromium from its file and from the server. The cost is the processor time of the server
while the rows of a reference run (sartaj) come at the pace at which they came, from its third minute on, with
a browser looking on.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import measure
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from tune_brain import runs
from tune_brain.config import ARCHITECTURES, RunConfig
from tune_brain.records import EpochRow, TrialRow
from tune_brain.report.page import write_page
from tune_brain.space import default_folder, load

TRIALS, EPOCHS = 2_000, 12
REFERENCE = measure.ROOT / "results" / "reference" / "sartaj"
FROM = 150.0
"""Seconds of the reference search that have passed when the replay starts."""

# Time from an event until what it changed is on the screen: two frames later.
INTERACT = """async ([selector, value, type]) => {
  const target = document.querySelector(selector);
  const started = performance.now();
  if (value === null) target.click();
  else { target.value = value; target.dispatchEvent(new Event(type, { bubbles: true })); }
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
  return performance.now() - started;
}"""
INTERACTIONS = {
    "one architecture": ("#archs input[value=cnn]", None, ""),
    "all architectures": ("#archs input[value='']", None, ""),
    "sort": ("#trials button[value=max_lr]", None, ""),
    "filter": ("#filter", "resnet18 macro_f1>0.5", "input"),
    "another trial": ("#chosen", "777", "change"),
}


def large_run(folder: Path) -> Path:
    """A run of 2,000 made-up full-length trials."""
    config = RunConfig(out=folder, configs=TRIALS // 4 - 1, ladder=(EPOCHS,), final_round=(0, 0))
    spaces = load(default_folder(), ARCHITECTURES)
    runs.create(config, spaces)
    rng = np.random.default_rng(0)
    trials, epochs = [], []
    for number in range(TRIALS):
        arch = ARCHITECTURES[number % 4]
        top = float(rng.uniform(0.5, 0.95))
        values = {
            name: float(np.exp(rng.uniform(np.log(limits.low), np.log(limits.high))))
            for name, limits in spaces[arch].tuned.items()
        }
        trials.append(
            TrialRow(
                trial=number, arch=arch, configuration=number // 4, epochs=EPOCHS, values=values, seed=number,
                state="completed", why="finished", score=top, started=30.0 * (number // 8), seconds=29.0,
                node=f"10.0.0.{number % 8}", worker=number % 8, device="cuda:0",
            )
        )  # fmt: skip
        for epoch in range(1, EPOCHS + 1):
            score = top * (1 - np.exp(-epoch / 3)) + float(rng.normal(0, 0.01))
            epochs.append(
                EpochRow(
                    trial=number, arch=arch, epoch=epoch, train_loss=1 - score, train_accuracy=score,
                    train_macro_f1=score, val_loss=1 - score, val_accuracy=score, val_macro_f1=score,
                    lr=values["max_lr"] / epoch, grad_norm=float(rng.uniform(0, 3)),
                    clipped_share=float(rng.uniform()), seconds=2.4,
                )
            )  # fmt: skip
    for name, rows in (("trials", trials), ("epochs", epochs)):
        (folder / f"{name}.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows))
    return folder


@contextmanager
def served(*folders: Path) -> Iterator[tuple[str, int]]:
    """The address and the process of a server."""
    command = [*measure.PROGRAM, "dashboard", *map(str, folders), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), server.pid
        server.terminate()


def first_paint(page: Page, url: str) -> float:
    """Seconds until the first content of a page is on the screen."""
    page.goto(url)
    paint = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    return float(page.wait_for_function(paint).json_value()) / 1000


def interactions(page: Page) -> dict[str, float]:
    """Milliseconds of each interaction, with the figures about it drawn."""
    found = {}
    for name, event in INTERACTIONS.items():
        section = "steps" if name == "another trial" else "ladder" if "arch" in name else "configurations"
        page.locator(f"#{section}").scroll_into_view_if_needed()
        page.wait_for_timeout(4000)
        found[f"{name}: ms"] = float(page.evaluate(INTERACT, list(event)))
    return found


def look(browser: Browser, url: str) -> tuple[float, dict[str, float]]:
    """First paint and interactions of a page."""
    page = browser.new_page()
    try:
        painted = first_paint(page, url)
        page.locator("#trials tbody tr").first.wait_for()
        return painted, interactions(page)
    finally:
        page.close()


def events() -> list[tuple[float, str, str]]:
    """When each row of the reference run came, in seconds of the search, its file and its line."""
    trials = [json.loads(line) for line in (REFERENCE / "trials.jsonl").read_text().splitlines()]
    began = min(row["started"] for row in trials)
    at = {row["trial"]: row["started"] - began for row in trials}
    found = [
        (row["started"] + row["seconds"] - began, "trials.jsonl", json.dumps(row) + "\n") for row in trials
    ]
    for line in (REFERENCE / "epochs.jsonl").read_text().splitlines():
        row = json.loads(line)
        at[row["trial"]] += row["seconds"]
        found.append((at[row["trial"]], "epochs.jsonl", line + "\n"))
    return sorted(found)


def cost(browser: Browser, folder: Path, view: str, seconds: float) -> float:
    """Share of the machine's processors that the server takes while rows come and a browser is at a view."""
    shutil.copytree(REFERENCE, folder)
    for name in ("trials.jsonl", "epochs.jsonl", "scores.json", "comparisons.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "winners")
    rows = events()
    for at, name, line in rows:
        if at < FROM:
            with (folder / name).open("a") as file:
                file.write(line)
    with served(folder) as (url, process):
        page = browser.new_page()
        page.goto(url)
        loaded = "() => [...document.querySelectorAll('section.view')].every((one) => one.dataset.version)"
        page.wait_for_function(loaded, timeout=120_000)
        page.locator(f"#{view}").scroll_into_view_if_needed()
        page.wait_for_timeout(3000)
        before, started = processor(process), time.perf_counter()
        for at, name, line in rows:
            if FROM <= at < FROM + seconds:
                # The browser must be heard meanwhile: playwright's own wait does that.
                left = at - FROM - (time.perf_counter() - started)
                page.wait_for_timeout(max(0.0, left * 1000))
                with (folder / name).open("a") as file:
                    file.write(line)
        page.wait_for_timeout(max(0.0, (seconds - (time.perf_counter() - started)) * 1000))
        spent, passed = processor(process) - before, time.perf_counter() - started
        page.close()
    return spent / passed / (os.cpu_count() or 1)


def processor(process: int) -> float:
    """Processor seconds that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    asked = measure.parser(__doc__).parse_args()
    repeats, seconds = (1, 20.0) if asked.quick else (asked.repeats, 40.0)
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        run = large_run(Path(folder) / "large")
        started = time.perf_counter()
        page = write_page(run)
        result["the page: s to write"] = time.perf_counter() - started
        result["the page: MB"] = page.stat().st_size / 1e6
        with served(run) as (url, _):
            for name, address in (("file", page.as_uri()), ("live", url)):
                looks = [look(browser, address) for _ in range(repeats)]
                result[f"{name}, first paint: s"] = measure.spread([paint for paint, _ in looks])
                for what in looks[0][1]:
                    result[f"{name}, {what}"] = measure.spread([told[what] for _, told in looks])
        for view in ("overview", "ladder"):
            shares = [
                cost(browser, Path(folder) / f"{view}-{repeat}", view, seconds)
                for repeat in range(min(repeats, 3))
            ]
            result[f"watching {view}: share of the processors"] = measure.spread(shares)
        browser.close()
    measure.tell("dashboard", result, quick=asked.quick)


if __name__ == "__main__":
    main()
