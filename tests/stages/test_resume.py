"""A search that goes on: what it refuses, and what it leaves as it was when it does."""

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
    Interrupted,
    RunFolderError,
    SealedTestError,
    WeightsError,
)
from tune_brain.runs import Run, read_winner
from tune_brain.slots import Slots
from tune_brain.stages import search as stage
from tune_brain.stages.evaluate import evaluate
from tune_brain.stages.extend import extend
from tune_brain.stages.resume import resume
from tune_brain.stages.status import status
from tune_brain.weights import ResolvedWeights


def files(folder: Path) -> dict[str, bytes]:
    """What stands in a run, but for its lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != lock.FILE
    }


@pytest.fixture
def ended(made: Callable[..., Run], no_ray: SimpleNamespace) -> Run:
    """A search that has come to its end."""
    run = made()
    resume(run.folder)
    no_ray.sessions.clear()
    return run


def test_a_search_whose_test_is_open_stays_as_it_is(ended: Run, no_ray: SimpleNamespace) -> None:
    (ended.folder / "sealed.json").write_text("{}")
    winner = (ended.folder / "winners" / "linear.toml").read_text()
    resume(ended.folder)
    assert (ended.folder / "winners" / "linear.toml").read_text() == winner
    # As with a time budget that is raised in run.toml.
    text = (ended.folder / "run.toml").read_text()
    (ended.folder / "run.toml").write_text(text.replace("configs = 3", "configs = 9"))
    before, sessions = files(ended.folder), len(no_ray.sessions)
    with pytest.raises(SealedTestError, match="before its test is opened"):
        resume(ended.folder)
    assert (files(ended.folder), len(no_ray.sessions)) == (before, sessions)


def test_a_second_command_is_refused_before_it_has_done_anything(ended: Run, no_ray: SimpleNamespace) -> None:
    before = files(ended.folder)
    for second in (resume, evaluate, lambda folder: extend(folder, {"configs": 9})):
        with lock.hold(ended.folder), pytest.raises(RunFolderError, match="One command at a time"):
            second(ended.folder)
    assert (files(ended.folder), no_ray.sessions) == (before, [])


def test_a_folder_without_a_run_stays_empty(tmp_path: Path) -> None:
    for command in (resume, evaluate):
        with pytest.raises(RunFolderError, match=r"holds run\.toml"):
            command(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_extension_that_is_refused_changes_nothing(ended: Run, no_ray: SimpleNamespace) -> None:
    before = files(ended.folder)
    with pytest.raises(WeightsError, match=r"nowhere\.pth"):
        extend(ended.folder, {"arch": ("resnet34",), "weights": "nowhere.pth"})
    with pytest.raises(ConfigError, match="at least as many"):
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


def test_winners_stand_when_a_search_has_ended_and_not_while_it_goes_on(
    ended: Run, no_ray: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    status(ended.folder)
    assert "Next: tune-brain evaluate" in capsys.readouterr().out
    winner = read_winner(ended.folder / "winners" / "linear.toml")
    no_ray.most = len((ended.folder / "trials.jsonl").read_text().splitlines()) + 2
    with pytest.raises(Interrupted, match=f"tune-brain resume {ended.folder}"):
        extend(ended.folder, {"configs": 9})
    status(ended.folder)
    assert f"Go on with: tune-brain resume {ended.folder}" in capsys.readouterr().out
    with pytest.raises(RunFolderError, match="when the search has ended"):
        evaluate(ended.folder)
    # Nor with the winners of the shorter search, which an older copy of the folder still has.
    runs.write_winner(ended.folder, winner)
    status(ended.folder)
    assert f"Go on with: tune-brain resume {ended.folder}" in capsys.readouterr().out
    with pytest.raises(RunFolderError, match="more to train of linear"):
        evaluate(ended.folder)
    no_ray.most = 1000
    resume(ended.folder)
    assert read_winner(ended.folder / "winners" / "linear.toml").configuration == 9


@pytest.mark.usefixtures("no_ray")
def test_a_search_that_its_time_ended_may_be_evaluated_or_go_on(
    made: Callable[..., Run], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(time_budget=5)
    monkeypatch.setattr(stage, "run_search", lambda *_: train(run, 3))
    resume(run.folder)
    status(run.folder)
    told = capsys.readouterr().out
    assert f"Its time was up. Next: tune-brain evaluate {run.folder}, or tune-brain resume" in told
    assert list(runs.read_winners(run)) == ["linear"]


def test_the_machines_of_a_search_are_others_from_now_on(ended: Run, no_ray: SimpleNamespace) -> None:
    resume(ended.folder, {"address": "192.0.2.1:6379", "concurrency": 3, "gpus_per_trial": 0.5})
    found = runs.open_run(ended.folder).config
    assert (found.address, found.concurrency, found.gpus_per_trial) == ("192.0.2.1:6379", 3, 0.5)
    assert no_ray.sessions[-1].address == "192.0.2.1:6379"
    no_ray.slots = lambda: Slots(count=7, cpus=1, gpus=0.5)
    resume(ended.folder, {"address": None})
    assert runs.open_run(ended.folder).config.address is None
    # What `status` reckons the time left with.
    assert json.loads((ended.folder / "record.json").read_text())["slots"] == 7


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("run.toml", "image_size = 224", "image_size = 96", "image_size is 96, and was 224"),
        ("run.toml", "ladder = [1, 2]", "ladder = [1, 3]", "ladder"),
        ("spaces/linear.toml", "flip = 0.5", "flip = 0.0", "fixed"),
        ("spaces/linear.toml", "max_lr = 0.001", "max_lr = 0.002", "baseline"),
    ],
)
def test_what_all_trials_have_in_common_is_not_changed_by_hand(
    ended: Run, no_ray: SimpleNamespace, file: str, old: str, new: str, named: str
) -> None:
    resume(ended.folder)
    path = ended.folder / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=rf"in common is not changed.*{named}"):
        resume(ended.folder)
    path.write_text(text)
    resume(ended.folder)
    assert no_ray.sessions


def test_a_search_goes_on_with_as_many_gpus_a_trial_as_it_had(ended: Run, no_ray: SimpleNamespace) -> None:
    no_ray.slots = lambda: Slots(count=7, cpus=1, gpus=0.5)
    resume(ended.folder)
    resume(ended.folder)
    assert no_ray.gpus[-2:] == [(0,), (0.5,)]
    assert runs.open_run(ended.folder).config.gpus_per_trial is None
    # What an older version began says nothing.
    record = json.loads((ended.folder / "record.json").read_text())
    del record["gpus_per_trial"]
    (ended.folder / "record.json").write_text(json.dumps(record))
    resume(ended.folder)
    assert no_ray.gpus[-1] == (None,)


def test_the_record_says_where_an_added_architecture_starts_and_others_are_refused(
    ended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starts_from(origin: str) -> None:
        found = ResolvedWeights(state={}, origin=origin)
        monkeypatch.setattr(
            stage, "starting_weights", lambda config, _: found if "resnet34" in config.arch else None
        )

    def recorded() -> Any:
        return json.loads((ended.folder / "record.json").read_text())["weights"]

    assert recorded() == "random weights"
    starts_from("mine.pth, SHA-256 a1")
    extend(ended.folder, {"arch": ("resnet34",), "weights": "mine.pth"})
    assert recorded() == "mine.pth, SHA-256 a1"
    assert runs.open_run(ended.folder).config.weights == "mine.pth"
    with pytest.raises(ConfigError, match="named when it is added"):
        extend(ended.folder, {"configs": 9, "weights": "none"})
    starts_from("mine.pth, SHA-256 b2")
    with pytest.raises(WeightsError, match=r"b2 instead of mine\.pth, SHA-256 a1"):
        resume(ended.folder)
    assert recorded() == "mine.pth, SHA-256 a1"


@pytest.mark.usefixtures("no_ray")
def test_of_two_new_searches_into_one_folder_the_second_leaves_the_first_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, prepared = tmp_path / "run", stage.images(None, None)  # type: ignore[arg-type]
    config = RunConfig.model_validate({**ASKED, "out": folder})

    def meanwhile(*_: Any) -> Any:
        first = config.model_copy(update={"configs": 7})
        runs.create(first, space.load(space.default_folder(), first.arch))
        return prepared

    monkeypatch.setattr(stage, "images", meanwhile)
    with pytest.raises(RunFolderError, match="folder of its own"):
        stage.search(config)
    assert runs.open_run(folder).config.configs == 7
    assert not (folder / "run.log").exists()
    shutil.rmtree(folder)
    folder.mkdir()
    monkeypatch.setattr(stage, "images", lambda *_: prepared)
    with lock.hold(folder), pytest.raises(RunFolderError, match="One command at a time"):
        stage.search(config)
    assert not (folder / "run.toml").exists()


def test_a_search_that_is_refused_leaves_no_folder(tmp_path: Path, no_ray: SimpleNamespace) -> None:
    def unreachable() -> None:
        raise ClusterError("Ray must be reachable")

    no_ray.slots = unreachable
    with pytest.raises(ClusterError):
        stage.search(RunConfig.model_validate({**ASKED, "out": tmp_path / "run"}))
    assert list(tmp_path.iterdir()) == []


def test_what_was_interrupted_before_it_was_written_down_is_to_be_asked_again(
    ended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = files(ended.folder)
    monkeypatch.setattr(stage, "images", interrupted)
    with pytest.raises(Interrupted, match="Go on with the same command"):
        extend(ended.folder, {"configs": 9})
    assert files(ended.folder) == before
