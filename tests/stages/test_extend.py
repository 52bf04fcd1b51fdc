"""What a finished search may be extended by, and what is refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from trained import train

from tune_brain import space
from tune_brain.errors import ConfigError
from tune_brain.records import BASELINE, TrialRow, append
from tune_brain.runs import Run
from tune_brain.search.convergence import FEWEST, SEEDS
from tune_brain.stages.extend import extended
from tune_brain.stages.preconditions import unfinished


@pytest.mark.parametrize("more", [(2, 2), (3, 3)])
def test_a_larger_final_round_makes_a_finished_search_unfinished(
    made: Callable[..., Run], more: tuple[int, int]
) -> None:
    run = made(final_round=(2, 1))
    train(run)
    grown = extended(run, {"final_round": more})
    assert grown.config.final_round == more
    assert (unfinished(run), unfinished(grown)) == ([], list(run.config.arch))


@pytest.mark.parametrize(
    ("less", "message"),
    [
        ({"final_round": (2, 1)}, "2x1 after 2x2"),
        ({"final_round": (3, 1)}, "3x1 after 2x2"),
        ({"final_round": (0, 0)}, "0x0 after 2x2"),
        ({"configs": 1}, "1 after"),
        ({"weights": "mine.pth"}, "mine.pth after none"),
    ],
)
def test_asking_for_less_than_before_is_refused(
    made: Callable[..., Run], less: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        extended(made(final_round=(2, 2)), less)


def write_space(run: Run, folder: Path, changes: Mapping[str, Any]) -> Path:
    """Write the run's space to a folder, with changes to the range of max_lr or to fields."""
    values = run.spaces["linear"].model_dump()
    values["tuned"]["max_lr"] |= changes.get("max_lr", {})
    values |= {name: value for name, value in changes.items() if name != "max_lr"}
    space.save({"linear": space.Space.model_validate(values)}, folder)
    return folder


def test_wider_ranges_are_searched_from_then_on(made: Callable[..., Run], tmp_path: Path) -> None:
    run = made()
    low = run.spaces["linear"].tuned["max_lr"].low
    folder = write_space(run, tmp_path / "wider", {"max_lr": {"low": low / 10}})
    assert extended(run, {"spaces": folder}).spaces["linear"].tuned["max_lr"].low == low / 10


def test_the_folder_of_wider_spaces_may_be_given_relative_to_the_home_folder(
    made: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made()
    monkeypatch.setenv("HOME", str(tmp_path))
    write_space(run, tmp_path / "wider", {"max_lr": {"high": 10.0}})
    assert extended(run, {"spaces": Path("~/wider")}).spaces["linear"].tuned["max_lr"].high == 10.0


@pytest.mark.parametrize(
    "changes",
    [
        {"max_lr": {"low": 2e-4}},
        {"max_lr": {"high": 5e-3}},
        {"max_lr": {"low": 1e-9, "high": 10.0, "log": False}},
        {"fixed": {"batch_size": 32, "warmup_share": 0.3, "rotation": 10.0, "flip": 0.0}},
        {"baseline": {"max_lr": 2e-3, "weight_decay": 1e-2, "grad_clip": 1.0}},
        {
            "tuned": {"max_lr": {"low": 1e-9, "high": 10.0}, "weight_decay": {"low": 1e-9, "high": 10.0}},
            "fixed": {"batch_size": 32, "warmup_share": 0.3, "rotation": 10.0, "flip": 0.5, "grad_clip": 1.0},
            "baseline": {"max_lr": 1e-3, "weight_decay": 1e-2},
        },
    ],
    ids=["higher low", "lower high", "other scale", "other fixed value", "other baseline", "one name less"],
)
def test_spaces_that_are_not_wider_are_refused(
    made: Callable[..., Run], tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = made()
    folder = write_space(run, tmp_path / "other", changes)
    assert run.spaces["linear"] != space.load(folder, ["linear"])["linear"]
    with pytest.raises(ConfigError, match="only grow wider"):
        extended(run, {"spaces": folder})


def test_wider_ranges_of_which_a_finished_search_would_sample_nothing_are_refused(
    made: Callable[..., Run], tmp_path: Path
) -> None:
    run = made()
    train(run)
    wider = write_space(run, tmp_path / "wider", {"max_lr": {"high": 10.0}})
    with pytest.raises(ConfigError, match=r"no effect.*linear with its \d+\.\nAdd --configs"):
        extended(run, {"spaces": wider})
    assert extended(run, {"spaces": wider, "configs": run.config.configs + 1})


def test_what_a_converged_study_would_not_sample_is_refused(made: Callable[..., Run], tmp_path: Path) -> None:
    run = made(until_converged=True, configs=40)
    numbers = [*range(1, FEWEST + 1), *[BASELINE] * SEEDS]
    rows = [
        TrialRow(
            trial=trial,
            arch="linear",
            configuration=number,
            epochs=run.config.ladder[0],
            repeat=0 if number else trial,
            values={},
            seed=trial,
            state="completed",
            why="finished",
            score=0.5 if number else 0.4 + trial / 100,
            started=0.0,
        )
        for trial, number in enumerate(numbers)
    ]
    wider = write_space(run, tmp_path / "wider", {"max_lr": {"high": 10.0}})
    append(run.folder / "trials.jsonl", *rows[:-1])
    assert extended(run, {"spaces": wider})
    append(run.folder / "trials.jsonl", rows[-1])
    with pytest.raises(ConfigError, match=r"linear: converged.*\nAdd --no-until-converged"):
        extended(run, {"spaces": wider})
    assert extended(run, {"spaces": wider, "until_converged": False})
    same = write_space(run, tmp_path / "same", {})
    assert extended(run, {"spaces": same, "final_round": (4, 1)})
    with pytest.raises(ConfigError, match=r"larger number has no effect; found: linear: converged"):
        extended(run, {"configs": 50})
    assert extended(run, {"configs": 50, "until_converged": False})
    # The added architecture has yet to sample.
    assert extended(run, {"configs": 50, "arch": ("cnn",)})
