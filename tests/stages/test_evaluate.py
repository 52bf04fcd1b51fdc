"""When an evaluation leaves the test sealed, and what it removes, stores and refuses."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from predicted import predictions

from tune_brain import runs
from tune_brain.errors import ConfigError, Interrupted, RunFolderError, SearchError
from tune_brain.evaluate.predictions import Predictions
from tune_brain.evaluate.scores import REFERENCES
from tune_brain.evaluate.seed_runs import SeedRun, plan
from tune_brain.evaluate.validation import Validated
from tune_brain.evaluate.winners import check_chosen, check_intact
from tune_brain.files import read_json, write_json
from tune_brain.portable.probabilities import calibrated
from tune_brain.records import SeedRow, append
from tune_brain.runs import Run, read_winner, write_winner
from tune_brain.stages import evaluate as stage
from tune_brain.stages.resume import resume

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def test_the_test_stays_sealed_if_every_seed_run_of_the_winners_diverges(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, no_ray: SimpleNamespace
) -> None:
    run, opened = made(), []
    resume(run.folder)
    monkeypatch.setattr(stage, "train_all", lambda *_: [])
    monkeypatch.setattr(stage, "validate", lambda *_: SimpleNamespace(of=lambda _: []))
    monkeypatch.setattr(stage, "open_test", lambda *_: opened.append("test"))
    with pytest.raises(SearchError, match=r"all of them diverged: linear\.\nNothing is scored"):
        stage.evaluate(run.folder)
    assert not opened
    assert not (run.folder / "sealed.json").exists()
    # The evaluation uses as many GPUs per trial as the search.
    assert no_ray.gpus[-1] == (0,)


@pytest.mark.usefixtures("no_ray")
def test_a_search_in_which_nothing_was_learnt_ends_with_the_advice_not_to_evaluate(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made()
    resume(run.folder)
    assert "Before you evaluate" not in (run.folder / "run.log").read_text()
    prepared = stage.images(None, None)  # type: ignore[arg-type]
    monkeypatch.setitem(prepared.summary, "counts", {"validation": {"a": 10, "b": 0}})
    resume(run.folder)
    assert "Before you evaluate, search lower" in (run.folder / "run.log").read_text()


@pytest.mark.usefixtures("no_ray")
@pytest.mark.parametrize("predicted", [False, True])
def test_old_scores_are_removed_before_networks_are_retrained(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, predicted: bool
) -> None:
    run = made()
    resume(run.folder)
    scores = run.folder / "scores.json"
    scores.write_text("{}")
    if predicted:
        (run.folder / "predictions.npz").touch()
    planned = plan(run, runs.read_winners(run))
    write_json(run.folder / "sealed.json", {"for": {one.name: dict(one.values) for one in planned}})

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "train_all", interrupted)
    with pytest.raises(Interrupted):
        stage.evaluate(run.folder)
    assert scores.exists() is predicted


@pytest.mark.usefixtures("no_ray")
def test_checkpoints_are_removed_once_the_test_is_open(
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
    never = {"errors": None, "error_rate": 0.02}
    monkeypatch.setattr(stage, "fit_all", lambda *_: {"abstention": {"linear": never, "cnn": {"errors": 0}}})
    monkeypatch.setattr(stage, "open_test", opens)
    monkeypatch.setattr(stage, "winner_scores", interrupted)
    with pytest.raises(Interrupted):
        stage.evaluate(run.folder)
    assert not (run.folder / "checkpoints").exists()
    log = (run.folder / "run.log").read_text()
    assert "linear: its bundle will be unsure of every image" in log
    assert "cnn: its bundle" not in log
    assert "opening the sealed test" in log


@pytest.mark.usefixtures("no_ray")
def test_a_changed_number_of_seeds_is_stored_in_the_run(
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
def test_winners_that_the_rows_do_not_choose_are_refused(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, budget: float | None
) -> None:
    run = made(time_budget=budget, arch=("linear", "cnn"))
    resume(run.folder)
    monkeypatch.setattr(stage, "train_all", lambda *_: pytest.fail("it was not refused"))
    file = runs.winner_file(run.folder, "cnn")
    winner = read_winner(file)
    for edited in (
        {"trial": 0},
        {"values": {**winner.values, "max_lr": 0.5}},
        {"again": (0.9,)},
        {"training": winner.training.model_copy(update={"epochs": 1})},
        {"training": winner.training.model_copy(update={"precision": "bf16"})},
        {"training": winner.training.model_copy(update={"classes": 5})},
    ):
        write_winner(run.folder, winner.model_copy(update=edited))
        with pytest.raises(RunFolderError, match=r"(?s)cnn\.toml differs in: .* trial \d.*tune-brain resume"):
            stage.evaluate(run.folder)
    file.unlink()
    with pytest.raises(RunFolderError, match=r"cnn\.toml differs in: trial;"):
        stage.evaluate(run.folder)


@pytest.mark.parametrize("folder", sorted(REFERENCE.iterdir()), ids=lambda folder: folder.name)
def test_the_winners_of_the_committed_runs_are_those_that_their_rows_choose(folder: Path) -> None:
    run = runs.open_run(folder)
    check_chosen(run, runs.read_winners(run))
    check_intact(run, runs.read_winners(run))


@pytest.mark.usefixtures("no_ray")
def test_an_architecture_whose_seed_runs_all_diverged_is_named_in_the_verdicts_and_the_log(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(arch=("linear", "cnn"), seeds=1)
    resume(run.folder)

    def trained(run: Run, planned: list[SeedRun], *_: object) -> list[SeedRun]:
        finished = [one for one in planned if one.training.arch == "linear"]
        measures = {"val_loss": 0.5, "val_accuracy": 0.5, "val_macro_f1": 0.5, "seconds": 1.0}
        for one in finished:
            identity = {"arch": "linear", "role": one.role, "index": 0, "seed": one.training.seed}
            append(run.folder / "seed_runs.jsonl", SeedRow(**identity, values=dict(one.values), **measures))
        return finished

    def opened(folder: Path, *_: object) -> Predictions:
        (folder / "sealed.json").write_text("{}")
        references = dict.fromkeys(REFERENCES, np.eye(2)[labels])
        seed_runs = {name: calibrated(logits, 1.0) for name in ("winner-linear-0", "baseline-linear-0")}
        return predictions(labels, features=pixels, probabilities=references | seed_runs)

    labels, pixels = np.arange(60) % 2, np.random.default_rng(0).normal(size=(60, 3))
    logits = np.eye(2, dtype=np.float32)[labels] + pixels[:, :2].astype(np.float32)
    validated = Validated(
        labels=labels,
        logits={"winner-linear-0": logits},
        known=labels,
        embeddings={},
        features=pixels,
        known_features=pixels,
        weights={},
    )
    monkeypatch.setattr(stage, "train_all", trained)
    monkeypatch.setattr(stage, "validate", lambda *_: validated)
    monkeypatch.setattr(stage, "open_test", opened)
    scores = read_json(stage.evaluate(run.folder))
    verdicts = read_json(run.folder / "comparisons.json")["verdicts"]
    assert scores.keys() == {"linear", "ensemble"}
    assert verdicts["linear"].startswith("linear: the winner ")
    assert (
        verdicts["cnn"]
        == "cnn: all seed runs of its winner diverged, so it has no test score and is not exported."
    )
    assert verdicts["ensemble"].startswith("ensemble: it ")
    log = (run.folder / "run.log").read_text()
    assert all(sentence in log for sentence in verdicts.values())
