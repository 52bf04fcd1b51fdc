"""When an evaluation leaves the test sealed."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tune_brain import runs
from tune_brain.errors import ConfigError, Interrupted, RunFolderError, SearchError
from tune_brain.runs import Run, read_winner, write_winner
from tune_brain.stages import evaluate as stage
from tune_brain.stages.resume import resume


def test_the_test_stays_sealed_where_every_seed_of_the_winners_diverges(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, no_ray: SimpleNamespace
) -> None:
    run, opened = made(), []
    resume(run.folder)
    monkeypatch.setattr(stage, "train_all", lambda *_: [])
    monkeypatch.setattr(stage, "validate", lambda *_: SimpleNamespace(of=lambda _: []))
    monkeypatch.setattr(stage, "open_test", lambda *_: opened.append("test"))
    with pytest.raises(SearchError, match=r"all of them diverged: linear\.\nIt stays"):
        stage.evaluate(run.folder)
    assert not opened
    assert not (run.folder / "sealed.json").exists()
    # On what the search trained on.
    assert no_ray.gpus[-1] == (0,)


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("spoken", [False, True])
def test_no_score_stands_beside_networks_that_are_trained_anew(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, spoken: bool
) -> None:
    run = made()
    resume(run.folder)
    scores = run.folder / "scores.json"
    scores.write_text("{}")
    if spoken:
        (run.folder / "predictions.npz").touch()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "train_all", interrupted)
    with pytest.raises(Interrupted):
        stage.evaluate(run.folder)
    assert scores.exists() is spoken


@pytest.mark.usefixtures("no_ray")
def test_checkpoints_go_when_the_test_is_open(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made()
    resume(run.folder)
    (run.folder / "checkpoints").mkdir()

    def opens(*_: object) -> None:
        assert (run.folder / "checkpoints").exists()
        (run.folder / "sealed.json").write_text("{}")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "train_all", lambda *_: [])
    monkeypatch.setattr(stage, "validate", lambda *_: SimpleNamespace(of=lambda _: ["a seed run"]))
    monkeypatch.setattr(stage, "fit_all", lambda *_: {})
    monkeypatch.setattr(stage, "open_test", opens)
    monkeypatch.setattr(stage, "winner_scores", interrupted)
    with pytest.raises(Interrupted):
        stage.evaluate(run.folder)
    assert not (run.folder / "checkpoints").exists()


@pytest.mark.usefixtures("no_ray")
def test_how_many_seeds_were_asked_for_is_kept_for_those_who_go_on(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made()
    resume(run.folder)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "train_all", interrupted)
    with pytest.raises(ConfigError, match="seeds"):
        stage.evaluate(run.folder, {"seeds": 0})
    assert runs.open_run(run.folder).config.seeds == run.config.seeds
    with pytest.raises(Interrupted, match=f"tune-brain evaluate {run.folder}"):
        stage.evaluate(run.folder, {"seeds": 7})
    assert runs.open_run(run.folder).config.seeds == 7


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("budget", [None, 60.0])
def test_winners_that_the_rows_do_not_choose_are_not_scored(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, budget: float | None
) -> None:
    run = made(time_budget=budget, arch=("linear", "cnn"))
    resume(run.folder)
    monkeypatch.setattr(stage, "train_all", lambda *_: pytest.fail("it went on"))
    file = runs.winner_file(run.folder, "cnn")
    winner = read_winner(file)
    write_winner(run.folder, winner.model_copy(update={"trial": 0}))
    with pytest.raises(RunFolderError, match=r"(?s)cnn: trial 0 in .*tune-brain resume"):
        stage.evaluate(run.folder)
    file.unlink()
    with pytest.raises(RunFolderError, match="cnn: trial none in"):
        stage.evaluate(run.folder)
