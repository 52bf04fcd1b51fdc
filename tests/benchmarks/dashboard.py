"""How soon the page of 2,000 trials of 12 epochs paints and responds, and what the live page costs a search.

    python tests/benchmarks/dashboard.py [--quick]

The page is opened in Chromium, from its file and from the server. The cost is the server's processor time
while a browser is open and the rows of a reference run (sartaj) arrive at their original pace, from its third
minute on.
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
START = 150.0
"""Seconds into the reference search at which the replay starts."""

# Time from an event until its effect is on the screen, two frames later.
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
    """Write a run of 2,000 synthetic full-length trials."""
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
    """Serve runs; yields the address and the process id of the server."""
    command = [*measure.PROGRAM, "dashboard", *map(str, folders), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), server.pid
        server.terminate()


def first_paint(page: Page, url: str) -> float:
    """Open a page; returns the seconds until its first content is on the screen."""
    page.goto(url)
    paint = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    return float(page.wait_for_function(paint).json_value()) / 1000


def interactions(page: Page) -> dict[str, float]:
    """Milliseconds of each interaction, once the surrounding figures are drawn."""
    durations = {}
    for name, event in INTERACTIONS.items():
        section = "steps" if name == "another trial" else "ladder" if "arch" in name else "configurations"
        page.locator(f"#{section}").scroll_into_view_if_needed()
        page.wait_for_timeout(4000)
        durations[f"{name}: ms"] = float(page.evaluate(INTERACT, list(event)))
    return durations


def visit(browser: Browser, url: str) -> tuple[float, dict[str, float]]:
    """Open a page in a new tab; returns its first paint in seconds and its interactions."""
    page = browser.new_page()
    try:
        painted = first_paint(page, url)
        page.locator("#trials tbody tr").first.wait_for()
        return painted, interactions(page)
    finally:
        page.close()


def events() -> list[tuple[float, str, str]]:
    """The rows of the reference run: seconds into the search at which each was written, file and line."""
    trials = [json.loads(line) for line in (REFERENCE / "trials.jsonl").read_text().splitlines()]
    start = min(row["started"] for row in trials)
    ended = {row["trial"]: row["started"] - start for row in trials}
    rows = [
        (row["started"] + row["seconds"] - start, "trials.jsonl", json.dumps(row) + "\n") for row in trials
    ]
    for line in (REFERENCE / "epochs.jsonl").read_text().splitlines():
        row = json.loads(line)
        ended[row["trial"]] += row["seconds"]
        rows.append((ended[row["trial"]], "epochs.jsonl", line + "\n"))
    return sorted(rows)


def cost(browser: Browser, folder: Path, view: str, seconds: float) -> float:
    """Share of the machine's processors that the server uses while rows arrive and a browser shows a view."""
    shutil.copytree(REFERENCE, folder)
    for name in ("trials.jsonl", "epochs.jsonl", "scores.json", "comparisons.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "winners")
    rows = events()
    for at, name, line in rows:
        if at < START:
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
            if START <= at < START + seconds:
                # Playwright's own wait handles the browser's events meanwhile.
                left = at - START - (time.perf_counter() - started)
                page.wait_for_timeout(max(0.0, left * 1000))
                with (folder / name).open("a") as file:
                    file.write(line)
        page.wait_for_timeout(max(0.0, (seconds - (time.perf_counter() - started)) * 1000))
        used, elapsed = processor(process) - before, time.perf_counter() - started
        page.close()
    return used / elapsed / (os.cpu_count() or 1)


def processor(process: int) -> float:
    """Processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    args = measure.parser(__doc__).parse_args()
    repeats, seconds = (1, 20.0) if args.quick else (args.repeats, 40.0)
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
                visits = [visit(browser, address) for _ in range(repeats)]
                result[f"{name}, first paint: s"] = measure.spread([paint for paint, _ in visits])
                for what in visits[0][1]:
                    result[f"{name}, {what}"] = measure.spread([times[what] for _, times in visits])
        for view in ("overview", "ladder"):
            shares = [
                cost(browser, Path(folder) / f"{view}-{repeat}", view, seconds)
                for repeat in range(min(repeats, 3))
            ]
            result[f"watching {view}: share of the processors"] = measure.spread(shares)
        browser.close()
    measure.report("dashboard", result, quick=args.quick)


if __name__ == "__main__":
    main()
