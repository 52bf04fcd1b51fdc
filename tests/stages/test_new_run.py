"""Where a new run may be created: in a new or empty folder outside its images."""

import errno
import tempfile
from pathlib import Path

import pytest

from tune_brain import runs
from tune_brain.cli.search import _check_early
from tune_brain.config import RunConfig
from tune_brain.errors import ConfigError, RunFolderError
from tune_brain.records import TrialRow
from tune_brain.search.ledger import Ledger
from tune_brain.stages import search as stage


@pytest.mark.parametrize("there", ["checkpoints/3.pth", "scores.json", "trials.jsonl"])
def test_a_folder_with_other_files_is_refused(tmp_path: Path, there: str) -> None:
    file = tmp_path / there
    file.parent.mkdir(exist_ok=True)
    file.touch()
    with pytest.raises(RunFolderError, match="not an empty folder"):
        _check_early(RunConfig(out=tmp_path))
    assert file.exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(RunFolderError, match="not an empty folder"):
        runs.check_new(tmp_path / "a")


def test_a_folder_that_holds_a_run_is_refused_before_images_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.toml").touch()
    monkeypatch.setattr(stage, "images", lambda *_: pytest.fail("the images were decoded"))
    with pytest.raises(RunFolderError, match="already holds a run"):
        stage.search(RunConfig(out=tmp_path, arch=("linear",)))


def test_a_folder_with_only_a_lock_or_none_at_all_is_accepted(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    runs.check_new(tmp_path)
    runs.check_new(tmp_path / "not there")


@pytest.mark.parametrize("out", ["results/images", "x/../run", "."])
def test_a_run_inside_its_image_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    monkeypatch.chdir(images)
    with pytest.raises(ConfigError, match="must not be inside the image folder"):
        _check_early(RunConfig(data=Path(), out=Path(out)))
    assert not [*images.iterdir()]


def test_after_a_disk_that_was_full_the_same_folder_can_be_used(
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


def test_a_moved_run_is_an_error_even_if_a_worker_has_recreated_its_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.toml").touch()
    rows = Ledger(run)
    run.rename(tmp_path / "moved")
    (run / "checkpoints").mkdir(parents=True)
    row = TrialRow(
        trial=0, arch="cnn", configuration=1, epochs=1, values={}, seed=0, state="running", started=0.0
    )
    with pytest.raises(RunFolderError, match="moved or deleted"):
        rows.start(row)
    rows._keep(row)
    with pytest.raises(RunFolderError, match="moved or deleted"):
        rows.add_epochs(0, [{"epoch": 1}])
    assert [*run.iterdir()] == [run / "checkpoints"]


def test_a_folder_that_cannot_be_written_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(**_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    _check_early(RunConfig(out=tmp_path / "a" / "b"))
    assert not [*tmp_path.iterdir()]
    monkeypatch.setattr(tempfile, "TemporaryFile", forbidden)
    with pytest.raises(RunFolderError, match="Permission denied"):
        _check_early(RunConfig(out=tmp_path / "a" / "b"))
