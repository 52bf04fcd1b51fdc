"""Retraining a configuration: where it may be written, and divergence."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tune_brain.cli import app
from tune_brain.config import RunConfig, to_toml
from tune_brain.errors import DataError, Diverged, RunFolderError, SearchError
from tune_brain.runs import read_winner
from tune_brain.stages import train as stage

RUN = Path(__file__).parents[2] / "results" / "reference" / "sartaj"
WINNER = RUN / "winners" / "cnn.toml"


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.toml").touch()
    (tmp_path / "epochs.jsonl").write_text("rows")
    with pytest.raises(RunFolderError, match="--to"):
        stage.train(WINNER, tmp_path)
    assert (tmp_path / "epochs.jsonl").read_text() == "rows"


def test_a_folder_inside_a_bundle_is_refused(tmp_path: Path) -> None:
    """Another file there would make the bundle fail its check."""
    file = tmp_path / "configurations" / "cnn.toml"
    file.parent.mkdir()
    file.write_text(WINNER.read_text())
    (tmp_path / "bundle.json").touch()
    for options in ([], ["--to", str(tmp_path)], ["--to", f"{file.parent}/../again"]):
        done = CliRunner().invoke(app, ["train", str(file), *options])
        assert isinstance(done.exception, RunFolderError)
        assert "a bundle or inside one" in str(done.exception)
    assert [path.name for path in file.parent.iterdir()] == ["cnn.toml"]
    with pytest.raises(DataError, match="image folder"):
        stage.train(file, file.parent / ".." / ".." / "outside", data=Path("nowhere"))


def test_a_file_from_a_bundle_is_trained_on_images_that_the_command_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cnn.toml"
    file.write_text(to_toml(read_winner(WINNER), "", frozenset({"data"})))
    asked = []

    def images(config: RunConfig, _: object) -> SimpleNamespace:
        asked.append(config)
        return SimpleNamespace(summary={"cut_digest": "demo"})

    monkeypatch.setattr(stage, "images", images)
    with pytest.raises(DataError, match=r"(?s)names no folder.*--data DIR"):
        stage.train(file, tmp_path / "again")
    for options in ([], ["--data", "images", "--weights", "own.pth"]):
        done = CliRunner().invoke(app, ["train", str(file), *options])
        assert isinstance(done.exception, DataError)
    assert [config.data for config in asked] == [None, None, Path("images")]
    assert "digest demo instead of" in str(done.exception)
    assert asked[-1].weights == "own.pth"


def test_divergence_is_reported_as_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(_: object) -> object:
        raise Diverged("loss nan in epoch 1 of 12")

    monkeypatch.setattr(stage, "images", lambda *_: SimpleNamespace(development=lambda: None))
    for name in ("check_digest", "begin"):
        monkeypatch.setattr(stage, name, lambda *_: None)
    monkeypatch.setattr(stage, "fit", diverges)
    with pytest.raises(SearchError, match="loss nan in epoch 1"):
        stage.train(WINNER, tmp_path / "again")
