"""The live dashboard: rows that come are shown, strangers and paths are refused."""

import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from predicted import predictions
from program import PROGRAM

from tune_brain.errors import ConfigError
from tune_brain.evaluate.predictions import write_predictions
from tune_brain.records import TrialRow, trials_of
from tune_brain.report.live import image_file, listen
from tune_brain.report.run_reader import Reader, read_contents
from tune_brain.report.run_view import RunView

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


class Growing:
    """A copy of a reference run, as far as it had come after some of its rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows = {}
        shutil.copytree(REFERENCE / "sartaj", folder)
        for name in ("trials.jsonl", "epochs.jsonl"):
            self._rows[name] = (folder / name).read_bytes().splitlines(keepends=True)
            (folder / name).write_bytes(b"")
        for name in ("scores.json", "comparisons.json", "sealed.json", "seed_runs.jsonl", "winners"):
            shutil.move(folder / name, folder.parent / name)

    def grow(self, trials: int, epochs: int, torn: bytes = b"") -> None:
        """Rows up to so many have been written, and a piece of the next."""
        for name, count in (("trials.jsonl", trials), ("epochs.jsonl", epochs)):
            (self.folder / name).write_bytes(b"".join(self._rows[name][:count]) + torn)

    def trials(self) -> list[TrialRow]:
        """What is known of each trial by now."""
        return trials_of(self.folder)


@pytest.fixture
def growing(tmp_path) -> Growing:
    run = Growing(tmp_path / "growing")
    run.grow(trials=20, epochs=30)
    return run


@pytest.fixture
def served(growing, scored_run) -> Iterator[str]:
    """The address of a server of a growing run, and another to compare it with."""
    command = [*PROGRAM, "dashboard", str(growing.folder), str(scored_run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.terminate()


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_rows_are_shown_as_they_come(page, growing, served):
    page.goto(served)
    begun = len(growing.trials())
    page.get_by_text(f"{begun} of {begun} trials").wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('section')].every((one) => one.dataset.version)"
    )
    page.locator("#filter").fill("cnn")
    page.locator("#ladder").scroll_into_view_if_needed()
    climb = page.get_by_role("img", name="climb of cnn")
    climb.locator(".main-svg").first.wait_for()
    before = climb.element_handle()
    # The search goes on, and is killed in the middle of a row.
    growing.grow(trials=1000, epochs=1000, torn=b'{"trial":56,"ar')
    trials = growing.trials()
    own = [trial for trial in trials if trial.arch == "cnn"]
    page.get_by_text(f"{len(own)} of {len(trials)} trials").wait_for()
    page.wait_for_function(
        "() => document.querySelector('#ladder .plot').data.some((trace) => trace.name === 'winner')"
    )
    assert before.evaluate("(plot) => plot.isConnected"), "a figure in sight is kept, and its zoom with it"
    assert page.locator("#filter").input_value() == "cnn"
    page.locator("#overview").scroll_into_view_if_needed()
    best = max(trial.score or 0 for trial in own)
    page.get_by_text(f"cnn leads with macro-F1 {best:.3f}").wait_for()
    # The test was opened meanwhile.
    for name in ("scores.json", "comparisons.json"):
        shutil.move(growing.folder.parent / name, growing.folder / name)
    page.get_by_text("resnet18 scores best on the unseen test").first.wait_for()
    page.locator("#compare").scroll_into_view_if_needed()
    page.locator("#compare .main-svg").first.wait_for()
    assert page.locator("#live").inner_text() == "live"
    page.get_by_role("link", name="scored").click()
    page.get_by_role("heading", name="scored", exact=True).wait_for()


@pytest.mark.slow
def test_strangers_and_paths_are_refused(served):
    assert status(f"{served}/run/0") == 200
    assert status(f"{served}/run/0/views/ladder") == 200
    assert status(f"{served}/run/0", Host="evil.example") == 400
    assert status(f"{served}/run/0/views", Host="evil.example:8050") == 400
    for path in (
        "/run/2",
        "/run/-1",
        "/run/0/views/..%2f..%2frun.toml",
        "/run/0/views/../../run.toml",
        "/run/..%2f..%2fetc%2fpasswd",
        "/run.toml",
        "/etc/passwd",
        "/run/0/trials.jsonl",
    ):
        assert status(served + path) == 404, path


def test_a_reader_takes_only_what_was_added(growing):
    reader = Reader(growing.folder)
    first, stamps = reader.read(), reader.stamps()
    growing.grow(trials=30, epochs=30, torn=b'{"trial":')
    second = reader.read()
    assert [row.trial for row in second.rows[:20]] == [row.trial for row in first.rows]
    assert all(new is old for new, old in zip(second.rows, first.rows, strict=False))
    assert len(second.rows) == 30
    assert second.epochs is first.epochs or second.epochs == first.epochs
    assert {name for name, told in reader.stamps().items() if told != stamps[name]} >= {"trials"}


def test_a_reader_starts_again_where_a_file_was_cut(growing):
    reader = Reader(growing.folder)
    reader.read()
    growing.grow(trials=6, epochs=2)
    contents = reader.read()
    assert (len(contents.rows), len(contents.epochs)) == (6, 2)


def test_a_taken_port_is_told_with_its_remedy():
    with listen("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="--port"):
        listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_all_addresses_at_once_are_no_name_for_a_browser(host):
    with pytest.raises(ConfigError, match="--host is one address"):
        listen(host, 0)


def test_only_test_images_of_the_run_are_given(tmp_path, new_run):
    root = tmp_path / "images"
    for name in ("Testing/a.jpg", "Testing/notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"-")
    (tmp_path / "secret.jpg").write_bytes(b"-")
    run = new_run(archs=("cnn",), configs=2, images=24)
    names = ["Testing/a.jpg", "../secret.jpg", "Testing/notes.txt", "Testing/gone.jpg"]
    write_predictions(run / "predictions.npz", predictions(np.zeros(4, int), names=np.array(names)))
    contents = read_contents(run)
    config = contents.config.model_copy(update={"data": root})
    shown = RunView(replace(contents, config=config))
    found = [image_file(shown, number) for number in range(5)]
    assert found == [(root / "Testing/a.jpg").resolve(), None, None, None, None]
    nowhere = RunView(replace(contents, config=config.model_copy(update={"data": None})))
    assert image_file(nowhere, 0) is None
