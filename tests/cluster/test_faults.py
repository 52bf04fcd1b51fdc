"""Each fault once, on real Ray: how a search handles it, and that its rows are the same as without it."""

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faults
import pytest

from tune_brain.errors import RunFolderError
from tune_brain.records import EpochRow, TrialRow, read, trials_of
from tune_brain.search import run
from tune_brain.search.trainable import TrialWorker
from tune_brain.stages.resume import resume
from tune_brain.stages.search import search

PATIENCE = 300.0
"""Seconds after which a test gives up; much more than the search takes."""
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_slot")]


def test_a_search_whose_driver_and_workers_are_killed_has_the_same_rows_in_the_end(
    undisturbed: Path, phantoms: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    running = faults.driver("search", phantoms, folder, 1, faults.FEW)
    try:
        deadline = time.monotonic() + PATIENCE
        while len(read(folder / "epochs.jsonl", EpochRow)) < 4:
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        faults.kill_driver(running, folder, random.Random(0))
    assert not faults.equal(folder, undisturbed)
    with faults.killing_workers(folder, seed=1, every=(8, 8)) as killed:
        resume(folder)
    assert killed
    assert (faults.lost(folder), faults.repeated(folder)) == (0, 0)
    assert faults.equal(folder, undisturbed)


def not_completed(rows: list[TrialRow]) -> list[tuple[Any, ...]]:
    return [(row.trial, row.why, row.attempt) for row in rows if row.state != "completed"]


def test_a_trial_without_enough_memory_is_retried_with_more_and_then_fails(
    monkeypatch: pytest.MonkeyPatch, phantoms: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "TrialWorker", faults.misbehaving(faults.allocates))
    search(faults.asked(phantoms, tmp_path, 2, 1, ladder=(1,)))
    rows = trials_of(tmp_path)
    assert not_completed(rows) == [(1, "memory", 2)]
    assert "allocate" in rows[1].detail
    assert (rows[2].state, rows[2].attempt) == ("completed", 2)


def test_a_trial_that_hangs_is_killed_and_the_search_continues(
    monkeypatch: pytest.MonkeyPatch, phantoms: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "TrialWorker", faults.misbehaving(faults.stops))
    search(faults.asked(phantoms, tmp_path, 1, 1, ladder=(1,), trial_timeout=15.0))
    rows = trials_of(tmp_path)
    assert not_completed(rows) == [(1, "timeout", 1)]
    assert len(rows) == 4


@pytest.mark.parametrize(
    ("disturbed", "detail"),
    [(faults.hanging_once, "its worker process has died"), (faults.refusing_once, "others hold its GPU")],
)
def test_a_worker_that_hangs_or_refuses_a_trial_is_replaced_and_costs_no_attempt(
    monkeypatch: pytest.MonkeyPatch,
    phantoms: Path,
    tmp_path: Path,
    disturbed: Callable[[Path], type[TrialWorker]],
    detail: str,
) -> None:
    marker, folder = tmp_path / "marker", tmp_path / "run"
    monkeypatch.setattr(run, "TrialWorker", disturbed(marker))
    search(faults.asked(phantoms, folder, 1, faults.FEW))
    assert marker.exists()
    assert {(row.state, row.attempt) for row in trials_of(folder)} == {("completed", 1)}
    ends = [row for row in read(folder / "trials.jsonl", TrialRow) if row.state == "failed"]
    assert [(row.why, row.attempt) for row in ends] == [("lost", 0)]
    assert detail in ends[0].detail
    assert "a worker did not start on" in (folder / "run.log").read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 96 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        with faults.small_disk(folder, kilobytes=96):
            yield folder
    except subprocess.CalledProcessError:
        pytest.skip("mounting needs root")


def test_a_full_disk_is_reported_and_the_search_can_be_resumed_when_there_is_space(
    undisturbed: Path, phantoms: Path, small_disk: Path
) -> None:
    folder, filler = small_disk / "run", small_disk / "filler"
    filler.write_bytes(bytes(68_000))
    with pytest.raises(RunFolderError, match="No space left"):
        search(faults.asked(phantoms, folder, 1, faults.FEW))
    assert read(folder / "trials.jsonl", TrialRow)
    filler.unlink()
    resume(folder)
    assert faults.equal(folder, undisturbed)


def test_a_folder_that_cannot_be_written_is_reported(phantoms: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RunFolderError, match=r"Cannot write .*; found: .*Read-only"):
        search(faults.asked(phantoms, small_disk / "run", 1, faults.FEW))


def test_a_run_of_other_versions_is_resumed_with_a_warning(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    record = folder / "record.json"
    before = json.loads(record.read_text())
    record.write_text(json.dumps({**before, "packages": {**before["packages"], "torch": "1.0"}}))
    resume(folder)
    assert f"torch is {before['packages']['torch']}, was 1.0" in capsys.readouterr().err
