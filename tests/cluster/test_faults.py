"""Each fault once, on real Ray: what a search makes of it, and that it is then what it would have been."""

import json
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults
import pytest

from tune_brain.errors import RunFolderError
from tune_brain.records import EpochRow, TrialRow, read, trials_of
from tune_brain.search import run
from tune_brain.stages.resume import resume
from tune_brain.stages.search import search

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_slot")]


def test_a_search_whose_driver_and_workers_are_killed_is_the_same_in_the_end(
    undisturbed: Path, phantoms: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    running = faults.driver("search", phantoms, folder, 1, faults.FEW)
    while len(read(folder / "epochs.jsonl", EpochRow)) < 4:
        assert running.poll() is None
        time.sleep(0.01)
    faults.kill_driver(running, folder, random.Random(0))
    assert not faults.equal(folder, undisturbed)
    with faults.killing_workers(folder, seed=1, every=(8, 8)) as killed:
        resume(folder)
    assert killed
    assert (faults.lost(folder), faults.repeated(folder)) == (0, 0)
    assert faults.equal(folder, undisturbed)


def failing(rows: list[TrialRow]) -> list[tuple[Any, ...]]:
    return [(row.trial, row.why, row.attempt) for row in rows if row.state != "completed"]


def test_what_has_not_enough_memory_is_tried_with_more_and_then_fails(
    monkeypatch: pytest.MonkeyPatch, phantoms: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "TrialWorker", faults.misbehaving(faults.allocates))
    search(faults.asked(phantoms, tmp_path, 1, 1, ladder=(1,)))
    rows = trials_of(tmp_path)
    assert failing(rows) == [(1, "memory", 2)]
    assert "allocate" in rows[1].detail
    assert (rows[2].state, rows[2].attempt) == ("completed", 2)


def test_a_trial_that_hangs_is_ended_and_the_search_goes_on(
    monkeypatch: pytest.MonkeyPatch, phantoms: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "TrialWorker", faults.misbehaving(faults.stops))
    search(faults.asked(phantoms, tmp_path, 1, 1, ladder=(1,), trial_timeout=15.0))
    rows = trials_of(tmp_path)
    assert failing(rows) == [(1, "timeout", 1)]
    assert len(rows) == 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 96 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        with faults.small_disk(folder, kilobytes=96):
            yield folder
    except subprocess.CalledProcessError:
        pytest.skip("mounting wants root")


def test_a_search_on_a_full_disk_says_so_and_goes_on_when_there_is_room(
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


def test_a_folder_that_cannot_be_written_is_said(phantoms: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(RunFolderError, match=r"must be writable; found: .*Read-only"):
        search(faults.asked(phantoms, small_disk / "run", 1, faults.FEW))


def test_other_versions_are_said_and_allowed(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = undisturbed / "record.json"
    kept = record.read_text()
    before = json.loads(kept)
    record.write_text(json.dumps({**before, "packages": {**before["packages"], "torch": "1.0"}}))
    resume(undisturbed)
    record.write_text(kept)
    assert f"torch is {before['packages']['torch']}, was 1.0" in capsys.readouterr().err
