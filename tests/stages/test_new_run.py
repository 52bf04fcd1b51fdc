"""Where a new run may be made: in a folder of its own, outside its images."""

from pathlib import Path

import pytest

from tune_brain import runs
from tune_brain.cli.search import _refuse_at_once
from tune_brain.config import RunConfig
from tune_brain.errors import ConfigError, RunFolderError


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
