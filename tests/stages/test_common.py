"""Missing images and weights, the demo images, and the versions and the commit in a record."""

import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tune_brain import runs
from tune_brain.config import RunConfig
from tune_brain.data.demo import write_demo
from tune_brain.errors import DataError, WeightsError
from tune_brain.files import write_json
from tune_brain.progress import Progress
from tune_brain.space import default_folder, load
from tune_brain.stages import common
from tune_brain.stages.common import check_same, images, starting_weights
from tune_brain.weights import ResolvedWeights


def test_relative_paths_start_from_the_directory_of_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"no data/mri in {tmp_path}\.\nWrite its path into"):
        images(RunConfig(out=tmp_path, data=Path("data/mri")), Progress())
    config = RunConfig(out=tmp_path, arch=("resnet34",), weights="mine.pth")
    with pytest.raises(WeightsError, match=r"mine\.pth.*\nA relative path"):
        starting_weights(config, Progress())


def test_other_versions_and_another_commit_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    record = runs.origin()
    assert runs.changes_since(record) == []
    monkeypatch.setattr(runs, "_commit", lambda: "b2")
    before = {**record, "commit": "a1", "packages": {**record["packages"], "torch": "1.0"}}
    torch = record["packages"]["torch"]
    assert runs.changes_since(before) == [f"torch is {torch}, was 1.0", "commit is b2, was a1"]


def test_initial_weights_may_be_renamed_but_not_replaced(tmp_path: Path) -> None:
    config = RunConfig(out=tmp_path, arch=("resnet34",))
    run = runs.create(config, load(default_folder(), config.arch))
    record = {"data": {"cut_digest": "1"}, "precision": {"resnet34": "fp32"}, "weights": "a.pth, SHA-256 a1"}
    write_json(tmp_path / "record.json", record)
    prepared: Any = SimpleNamespace(summary={"cut_digest": "1"})
    check_same(run, prepared, ResolvedWeights(state={}, origin="b.pth, SHA-256 a1"))
    for other in (None, ResolvedWeights(state={}, origin="a.pth, SHA-256 b2")):
        with pytest.raises(WeightsError, match=r"instead of a\.pth, SHA-256 a1"):
            check_same(run, prepared, other)


def test_half_written_demo_images_are_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(tmp_path))
    (tmp_path / "demo-images/.making-1/Training").mkdir(parents=True)
    monkeypatch.setattr(common, "write_demo", lambda folder: write_demo(folder, per_class=(8, 2)))
    assert images(RunConfig(out=tmp_path, image_size=16), Progress()).classes


def test_the_commit_is_that_of_the_checkout_that_tracks_our_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    file = tmp_path / "site-packages" / "runs.py"
    file.parent.mkdir()
    file.touch()
    (tmp_path / ".gitignore").write_text("site-packages\n")
    git("init")
    git("add", ".gitignore")
    git("commit", "-m", "Another project")
    git("tag", "-a", "v1", "-m", "v1")
    monkeypatch.setattr(runs, "__file__", str(file))
    assert runs._commit() is None
    git("add", "-f", str(file))
    git("commit", "-m", "Ours")
    assert re.fullmatch("[0-9a-f]{40}", runs._commit() or "")
    file.write_text("changed")
    assert re.fullmatch("[0-9a-f]{40}-dirty", runs._commit() or "")
