"""What stages say when images or weights are not where a run looks for them."""

from pathlib import Path

import pytest

from tune_brain import runs
from tune_brain.config import RunConfig
from tune_brain.errors import DataError, WeightsError
from tune_brain.progress import Progress
from tune_brain.stages.common import images, starting_weights


def test_a_relative_path_counts_from_where_the_search_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"no data/mri in {tmp_path}\.\nGo to where the search was started"):
        images(RunConfig(out=tmp_path, data=Path("data/mri")), Progress())
    asked = RunConfig(out=tmp_path, arch=("resnet34",), weights="mine.pth")
    with pytest.raises(WeightsError, match=r"mine\.pth.*\nA relative path counts from where the search was"):
        starting_weights(asked, Progress())


def test_other_versions_and_another_commit_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    record = runs.origin()
    assert runs.changes_since(record) == []
    monkeypatch.setattr(runs, "_commit", lambda: "b2")
    before = {**record, "commit": "a1", "packages": {**record["packages"], "torch": "1.0"}}
    torch = record["packages"]["torch"]
    assert runs.changes_since(before) == [f"torch is {torch}, was 1.0", "commit is b2, was a1"]
