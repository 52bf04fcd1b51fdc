"""Continuing a search: what is refused, and that a refusal changes nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from trained import ASKED, train

from tune_brain import lock, runs, space
from tune_brain.config import RunConfig
from tune_brain.errors import (
    ClusterError,
    ConfigError,
    DataError,
    Interrupted,
    RunFolderError,
    SealedTestError,
    WeightsError,
)
from tune_brain.files import read_json, write_json
from tune_brain.records import append, trials_of
from tune_brain.runs import Run, read_winner
from tune_brain.slots import Slots
from tune_brain.stages import search as stage
from tune_brain.stages.evaluate import evaluate
from tune_brain.stages.extend import extend
from tune_brain.stages.resume import resume
from tune_brain.stages.status import status
from tune_brain.weights import ResolvedWeights


def files(folder: Path) -> dict[str, bytes]:
    """The contents of a run's files, except its lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != lock.FILE
    }


@pytest.fixture
def ended(made: Callable[..., Run], no_ray: SimpleNamespace) -> Run:
    """A finished search."""
    run = made()
    resume(run.folder)
    no_ray.sessions.clear()
    return run


def test_a_search_whose_test_is_open_is_not_continued(ended: Run, no_ray: SimpleNamespace) -> None:
    (ended.folder / "sealed.json").write_text("{}")
    winner = (ended.folder / "winners" / "linear.toml").read_text()
    resume(ended.folder)
    assert (ended.folder / "winners" / "linear.toml").read_text() == winner
    # Raising the number of configurations in run.toml leaves something to train.
    text = (ended.folder / "run.toml").read_text()
    (ended.folder / "run.toml").write_text(text.replace("configs = 3", "configs = 9"))
    before, sessions = files(ended.folder), len(no_ray.sessions)
    with pytest.raises(SealedTestError, match="test has been opened"):
        resume(ended.folder)
    assert (files(ended.folder), len(no_ray.sessions)) == (before, sessions)


def test_a_second_command_is_refused_before_it_has_done_anything(ended: Run, no_ray: SimpleNamespace) -> None:
    before = files(ended.folder)
    for second in (resume, evaluate, lambda folder: extend(folder, {"configs": 9})):
        with lock.hold(ended.folder), pytest.raises(RunFolderError, match="Another command is writing"):
            second(ended.folder)
    assert (files(ended.folder), no_ray.sessions) == (before, [])


def test_a_folder_without_a_run_stays_empty(tmp_path: Path) -> None:
    for command in (resume, evaluate):
        with pytest.raises(RunFolderError, match=r"no run\.toml"):
            command(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_extension_that_is_refused_changes_nothing(ended: Run, no_ray: SimpleNamespace) -> None:
    before = files(ended.folder)
    with pytest.raises(WeightsError, match=r"nowhere\.pth"):
        extend(ended.folder, {"arch": ("resnet34",), "weights": "nowhere.pth"})
    with pytest.raises(ConfigError, match="cannot lower"):
        extend(ended.folder, {"configs": 1})

    def unreachable() -> None:
        raise ClusterError("Ray must be reachable")

    no_ray.slots = unreachable
    with pytest.raises(ClusterError):
        extend(ended.folder, {"configs": 9, "address": "192.0.2.1:6379"})
    with pytest.raises(ClusterError):
        resume(ended.folder, {"address": "192.0.2.1:6379"})
    assert files(ended.folder) == before


@pytest.mark.usefixtures("no_ray")
def test_bf16_is_refused_for_small_images_when_an_architecture_is_added(made: Callable[..., Run]) -> None:
    run = made(image_size=16, precision="bf16")
    with pytest.raises(ConfigError, match="bf16 needs images"):
        extend(run.folder, {"arch": ("resnet18",)})
    assert runs.open_run(run.folder).config.arch == ("linear",)


def test_there_are_winners_only_while_a_search_is_finished(
    ended: Run, no_ray: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    status(ended.folder)
    assert "test, once: tune-brain evaluate" in capsys.readouterr().out
    winner = read_winner(ended.folder / "winners" / "linear.toml")
    no_ray.most = len((ended.folder / "trials.jsonl").read_text().splitlines()) + 2
    with pytest.raises(Interrupted, match=f"tune-brain resume {ended.folder}"):
        extend(ended.folder, {"configs": 9})
    status(ended.folder)
    assert f"Continue with: tune-brain resume {ended.folder}" in capsys.readouterr().out
    with pytest.raises(RunFolderError, match="no winners yet"):
        evaluate(ended.folder)
    # Nor is it finished with the winners of the shorter search, which an older copy may bring back.
    runs.write_winner(ended.folder, winner)
    status(ended.folder)
    assert f"Continue with: tune-brain resume {ended.folder}" in capsys.readouterr().out
    with pytest.raises(RunFolderError, match="trials left to train for linear"):
        evaluate(ended.folder)
    no_ray.most = 1000
    resume(ended.folder)
    assert read_winner(ended.folder / "winners" / "linear.toml").configuration == 9


@pytest.mark.usefixtures("no_ray")
def test_a_search_ended_by_its_time_budget_may_be_evaluated_or_resumed(
    made: Callable[..., Run], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(time_budget=5)
    monkeypatch.setattr(stage, "run_search", lambda *_: train(run, 3))
    resume(run.folder)
    status(run.folder)
    printed = capsys.readouterr().out
    assert f"time budget ran out; to finish the search: tune-brain resume {run.folder}" in printed
    assert list(runs.read_winners(run)) == ["linear"]


def test_options_of_resume_change_the_machines_from_then_on(ended: Run, no_ray: SimpleNamespace) -> None:
    resume(ended.folder, {"address": "192.0.2.1:6379", "concurrency": 3, "gpus_per_trial": 0.5})
    config = runs.open_run(ended.folder).config
    assert (config.address, config.concurrency, config.gpus_per_trial) == ("192.0.2.1:6379", 3, 0.5)
    assert no_ray.sessions[-1].address == "192.0.2.1:6379"
    no_ray.slots = lambda: Slots(count=7, gpus=0.5)
    resume(ended.folder, {"address": None})
    assert runs.open_run(ended.folder).config.address is None
    # `status` estimates the remaining time with it.
    record = json.loads((ended.folder / "record.json").read_text())
    assert (record["slots"], len(record["resumed"])) == (7, 2)


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("run.toml", "image_size = 224", "image_size = 96", "image_size is 96, and was 224"),
        ("run.toml", "ladder = [1, 2]", "ladder = [1, 3]", "ladder"),
        ("spaces/linear.toml", "flip = 0.5", "flip = 0.0", "fixed"),
        ("spaces/linear.toml", "max_lr = 0.001", "max_lr = 0.002", "baseline"),
    ],
)
def test_edits_of_settings_that_all_trials_share_are_refused(
    ended: Run, no_ray: SimpleNamespace, file: str, old: str, new: str, named: str
) -> None:
    resume(ended.folder)
    path = ended.folder / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=rf"was edited in its files.*{named}"):
        resume(ended.folder)
    path.write_text(text)
    resume(ended.folder)
    assert no_ray.sessions


def test_images_in_another_order_are_refused_and_nothing_is_changed(ended: Run) -> None:
    path = ended.folder / "record.json"
    record, prepared = read_json(path), stage.images(None, None)  # type: ignore[arg-type]
    write_json(path, {**record, "data": {**record["data"], "order_digest": "o1"}})
    prepared.summary["order_digest"] = "o2"
    before = files(ended.folder)
    with pytest.raises(DataError, match="keep their names"):
        resume(ended.folder)
    assert files(ended.folder) == before
    prepared.summary["order_digest"] = "o1"
    resume(ended.folder)
    # A record without the field, from before it was introduced, allows any order.
    write_json(path, record)
    resume(ended.folder)


def test_trials_without_the_record_of_their_images_are_not_continued(ended: Run) -> None:
    (ended.folder / "record.json").unlink()
    before = files(ended.folder)
    with pytest.raises(RunFolderError, match="record of a run names the images"):
        resume(ended.folder)
    assert files(ended.folder) == before
    (ended.folder / "trials.jsonl").unlink()
    resume(ended.folder)


def test_trials_of_another_cycle_are_not_continued(ended: Run) -> None:
    rows = [row.model_copy(update={"cycle": 2}) for row in trials_of(ended.folder) if row.epochs == 1]
    append(ended.folder / "trials.jsonl", *rows)
    with pytest.raises(RunFolderError, match="same one-cycle"):
        extend(ended.folder, {"configs": 9})


def test_a_resumed_search_keeps_its_gpus_per_trial(ended: Run, no_ray: SimpleNamespace) -> None:
    no_ray.slots = lambda: Slots(count=7, gpus=0.5)
    resume(ended.folder)
    resume(ended.folder)
    assert no_ray.gpus[-2:] == [(0,), (0.5,)]
    assert runs.open_run(ended.folder).config.gpus_per_trial is None
    # The record of an older version lacks the number.
    record = json.loads((ended.folder / "record.json").read_text())
    del record["gpus_per_trial"]
    (ended.folder / "record.json").write_text(json.dumps(record))
    resume(ended.folder)
    assert no_ray.gpus[-1] == (None,)


def test_the_initial_weights_of_an_added_architecture_are_recorded_and_others_refused(
    ended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starts_from(origin: str) -> None:
        weights = ResolvedWeights(state={}, origin=origin)
        monkeypatch.setattr(
            stage, "starting_weights", lambda config, _: weights if "resnet34" in config.arch else None
        )

    def recorded() -> Any:
        return json.loads((ended.folder / "record.json").read_text())["weights"]

    assert recorded() == "random weights"
    starts_from("mine.pth, SHA-256 a1")
    extend(ended.folder, {"arch": ("resnet34",), "weights": "mine.pth"})
    assert recorded() == "mine.pth, SHA-256 a1"
    assert runs.open_run(ended.folder).config.weights == "mine.pth"
    with pytest.raises(ConfigError, match="only be given when resnet34 is added"):
        extend(ended.folder, {"configs": 9, "weights": "none"})
    starts_from("mine.pth, SHA-256 b2")
    with pytest.raises(WeightsError, match=r"b2 instead of mine\.pth, SHA-256 a1"):
        resume(ended.folder)
    assert recorded() == "mine.pth, SHA-256 a1"


@pytest.mark.usefixtures("no_ray")
def test_of_two_new_searches_into_one_folder_the_second_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, prepared = tmp_path / "run", stage.images(None, None)  # type: ignore[arg-type]
    config = RunConfig.model_validate({**ASKED, "out": folder})

    def meanwhile(*_: Any) -> Any:
        first = config.model_copy(update={"configs": 7})
        runs.create(first, space.load(space.default_folder(), first.arch))
        return prepared

    monkeypatch.setattr(stage, "images", meanwhile)
    with pytest.raises(RunFolderError, match="already holds a run"):
        stage.search(config)
    assert runs.open_run(folder).config.configs == 7
    assert not (folder / "run.log").exists()
    shutil.rmtree(folder)
    folder.mkdir()
    monkeypatch.setattr(stage, "images", lambda *_: prepared)
    with lock.hold(folder), pytest.raises(RunFolderError, match="Another command is writing"):
        stage.search(config)
    assert not (folder / "run.toml").exists()


def test_a_search_that_is_refused_leaves_no_folder(tmp_path: Path, no_ray: SimpleNamespace) -> None:
    def unreachable() -> None:
        raise ClusterError("Ray must be reachable")

    no_ray.slots = unreachable
    with pytest.raises(ClusterError):
        stage.search(RunConfig.model_validate({**ASKED, "out": tmp_path / "run"}))
    assert list(tmp_path.iterdir()) == []


def test_an_extension_interrupted_before_it_is_written_must_be_repeated(
    ended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = files(ended.folder)
    monkeypatch.setattr(stage, "images", interrupted)
    with pytest.raises(Interrupted, match="Repeat the same command"):
        extend(ended.folder, {"configs": 9})
    assert files(ended.folder) == before
