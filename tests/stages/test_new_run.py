"""Where a new run may be made: in a folder of its own, outside its images."""

import errno
import tempfile
from pathlib import Path

import pytest

from tune_brain import runs
from tune_brain.cli.search import _refuse_at_once
from tune_brain.config import RunConfig
from tune_brain.errors import ConfigError, RunFolderError
from tune_brain.records import TrialRow
from tune_brain.search.ledger import Ledger


@pytest.mark.parametrize("there", ["checkpoints/3.pth", "scores.json", "trials.jsonl"])
def test_a_folder_with_files_of_somebody_is_not_taken(tmp_path: Path, there: str) -> None:
    file = tmp_path / there
    file.parent.mkdir(exist_ok=True)
    file.touch()
    with pytest.raises(RunFolderError, match="no empty folder"):
        _refuse_at_once(RunConfig(out=tmp_path))
    assert file.exists()


def test_a_file_is_no_folder_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(RunFolderError, match="no empty folder"):
        runs.check_new(tmp_path / "a")


def test_what_a_start_that_was_interrupted_has_left_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    runs.check_new(tmp_path)
    runs.check_new(tmp_path / "not there")


@pytest.mark.parametrize("out", ["results/images", "x/../run", "."])
def test_a_run_does_not_become_a_class_of_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    monkeypatch.chdir(images)
    with pytest.raises(ConfigError, match="outside its images"):
        _refuse_at_once(RunConfig(data=Path(), out=Path(out)))
    assert not [*images.iterdir()]


def test_a_disk_that_is_full_in_the_middle_leaves_a_folder_that_can_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    config = RunConfig(out=tmp_path / "run", arch=("linear",))
    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_text", full)
        with pytest.raises(RunFolderError, match="No space"):
            runs.create(config, runs.spaces_for(config))
    runs.create(config, runs.spaces_for(config))
    assert runs.open_run(config.out).spaces


def test_a_run_that_was_moved_away_is_told_though_a_worker_made_its_folder_anew(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.toml").touch()
    rows = Ledger(run)
    run.rename(tmp_path / "moved")
    (run / "checkpoints").mkdir(parents=True)
    row = TrialRow(
        trial=0, arch="cnn", configuration=1, epochs=1, values={}, seed=0, state="running", started=0.0
    )
    with pytest.raises(RunFolderError, match="stays where it is"):
        rows.start(row)
    rows._take(row)
    with pytest.raises(RunFolderError, match="stays where it is"):
        rows.epochs(0, [{"epoch": 1}])
    assert [*run.iterdir()] == [run / "checkpoints"]


def test_a_folder_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    _refuse_at_once(RunConfig(out=tmp_path / "a" / "b"))
    assert not [*tmp_path.iterdir()]
    monkeypatch.setattr(tempfile, "TemporaryFile", forbidden)
    with pytest.raises(RunFolderError, match="Permission denied"):
        _refuse_at_once(RunConfig(out=tmp_path / "a" / "b"))
