"""A configuration trained again: where it is written, and what is said of one that diverges."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tune_brain.errors import Diverged, RunFolderError, SearchError
from tune_brain.stages import train as stage

RUN = Path(__file__).parents[2] / "results" / "reference" / "sartaj"
WINNER = RUN / "winners" / "cnn.toml"


def test_a_run_is_not_trained_over(tmp_path: Path) -> None:
    (tmp_path / "run.toml").touch()
    (tmp_path / "epochs.jsonl").write_text("rows")
    with pytest.raises(RunFolderError, match="--to"):
        stage.train(WINNER, tmp_path)
    assert (tmp_path / "epochs.jsonl").read_text() == "rows"


def test_one_that_diverges_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(_: object) -> object:
        raise Diverged("loss nan in epoch 1 of 12")

    monkeypatch.setattr(stage, "images", lambda *_: SimpleNamespace(development=lambda: None))
    for name in ("check_digest", "begin"):
        monkeypatch.setattr(stage, name, lambda *_: None)
    monkeypatch.setattr(stage, "fit", diverges)
    with pytest.raises(SearchError, match="loss nan in epoch 1"):
        stage.train(WINNER, tmp_path / "again")
