"""Retraining a configuration: where it may be written, and divergence."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tune_brain.errors import Diverged, RunFolderError, SearchError
from tune_brain.stages import train as stage

RUN = Path(__file__).parents[2] / "results" / "reference" / "sartaj"
WINNER = RUN / "winners" / "cnn.toml"


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.toml").touch()
    (tmp_path / "epochs.jsonl").write_text("rows")
    with pytest.raises(RunFolderError, match="--to"):
        stage.train(WINNER, tmp_path)
    assert (tmp_path / "epochs.jsonl").read_text() == "rows"


def test_divergence_is_reported_as_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(_: object) -> object:
        raise Diverged("loss nan in epoch 1 of 12")

    monkeypatch.setattr(stage, "images", lambda *_: SimpleNamespace(development=lambda: None))
    for name in ("check_digest", "begin"):
        monkeypatch.setattr(stage, name, lambda *_: None)
    monkeypatch.setattr(stage, "fit", diverges)
    with pytest.raises(SearchError, match="loss nan in epoch 1"):
        stage.train(WINNER, tmp_path / "again")
