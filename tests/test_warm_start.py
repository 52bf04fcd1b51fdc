"""A search that starts from the best configurations of an earlier one."""

import shutil
from pathlib import Path

import pytest

from tune_brain import runs
from tune_brain.cli.options import run_config
from tune_brain.config import RunConfig
from tune_brain.errors import RunFolderError
from tune_brain.records import TrialRow, append, read
from tune_brain.space import Space
from tune_brain.stages.extend import extended
from tune_brain.stages.warm import FIRST, spaces_to_search, warmed


def space(arch: str = "cnn", high: float = 1.0, **fields: object) -> Space:
    tuned = {"max_lr": {"low": 1e-4, "high": high}, "weight_decay": {"low": 1e-6, "high": 1.0}}
    baseline = {"max_lr": 1e-3, "weight_decay": 1e-2}
    given = {"arch": arch, "fixed": {"grad_clip": 1.0}, "tuned": tuned, "baseline": baseline}
    return Space.model_validate({**given, **fields})


def values(max_lr: float) -> dict[str, float]:
    return {"max_lr": max_lr, "weight_decay": 0.1}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A search of two architectures: full-length scores rise with the learning rate, short ones fall."""
    config = RunConfig(out=tmp_path / "old", arch=("linear", "cnn"), ladder=(1, 3))
    run = runs.create(config, {arch: space(arch) for arch in config.arch})
    for place, arch in enumerate(config.arch):
        for number in range(9):
            given = values((number + 1) / 10 + place / 100) if number else space().baseline
            for epochs, score in ((1, 0.9 - number / 100), (3, 0.5 + number / 100)):
                append(
                    run.folder / "trials.jsonl",
                    TrialRow(
                        trial=100 * place + 10 * number + epochs,
                        arch=arch,
                        configuration=number,
                        epochs=epochs,
                        values=given,
                        seed=0,
                        state="completed",
                        score=score if number != 8 or epochs == 1 else None,
                        started=0.0,
                    ),
                )
    return run.folder


def test_the_best_full_length_configurations_of_the_same_architecture_come_first(old: Path) -> None:
    (found,) = warmed({"cnn": space()}, old).values()
    assert len(found.first) == FIRST
    # The full-length trial of configuration 8 has no score.
    assert [one["max_lr"] for one in found.first] == pytest.approx([0.81, 0.71, 0.61, 0.51, 0.41])


def test_an_architecture_that_was_not_searched_starts_from_the_best_of_the_others(old: Path) -> None:
    (found,) = warmed({"resnet18": space("resnet18")}, old).values()
    assert [one["max_lr"] for one in found.first] == pytest.approx([0.8, 0.81, 0.7, 0.71, 0.6])


def test_only_configurations_inside_the_space_are_used_and_none_twice(old: Path) -> None:
    (found,) = warmed({"cnn": space(high=0.45)}, old).values()
    # The baseline is trained anyway.
    assert [one["max_lr"] for one in found.first] == pytest.approx([0.41, 0.31, 0.21])
    narrow = {"tuned": {"max_lr": {"low": 0.1, "high": 1.0}}, "baseline": {"max_lr": 0.5}}
    other = space(**narrow, fixed={"grad_clip": 1.0, "weight_decay": 0.1})
    with pytest.raises(RunFolderError, match="inside the ranges"):
        warmed({"cnn": other}, old)
    with pytest.raises(RunFolderError, match=r"run\.toml"):
        warmed({"cnn": space()}, old.parent)


def test_a_run_keeps_its_first_configurations_when_the_earlier_run_is_deleted(
    old: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    runs.spaces_for(RunConfig(out=folder, arch=("linear", "cnn")))
    config = RunConfig(out=folder, arch=("cnn",), spaces=old / "spaces", warm_start=old)
    asked = spaces_to_search(config)
    runs.create(config, asked)
    shutil.rmtree(old)
    opened = runs.open_run(folder)
    assert opened.spaces == asked
    assert (opened.config.warm_start, len(opened.spaces["cnn"].first)) == (old, FIRST)
    # Its own spaces are enough to repeat and to extend it.
    again = run_config({"config": folder / "run.toml", "out": tmp_path / "again"})
    assert again.warm_start is None
    assert spaces_to_search(again) == asked
    wider = tmp_path / "wider"
    wider.mkdir()
    (wider / "cnn.toml").write_text((folder / "spaces" / "cnn.toml").read_text().split("[[first]]")[0])
    longer = extended(runs.open_run(folder), {"configs": 50, "spaces": wider})
    assert longer.spaces["cnn"].first == asked["cnn"].first


def test_first_configurations_outside_the_space_are_refused() -> None:
    with pytest.raises(ValueError, match="first must hold values of the tuned hyperparameters"):
        space(first=[values(2.0)])
    with pytest.raises(ValueError, match="first must hold values of the tuned hyperparameters"):
        space(first=[{"max_lr": 0.1}])


@pytest.mark.slow
def test_a_search_first_tries_the_best_of_an_earlier_one(
    command, old: Path, phantoms: Path, tmp_path: Path
) -> None:
    (tmp_path / "spaces").mkdir()
    shutil.copy(old / "spaces" / "linear.toml", tmp_path / "spaces")
    asked = ("--data", phantoms, "--arch", "linear", "--image-size", 32, "--ladder", 1, "--configs", 3)
    folder = tmp_path / "new"
    warm = ("--spaces", tmp_path / "spaces", "--out", folder, "--warm-start")
    assert "run.toml" in command("search", *asked, *warm, tmp_path, code=5).stderr
    said = command("search", *asked, *warm, old).stderr
    assert "linear: starts with 5 configurations of" in said
    tried = {row.configuration: row.values["max_lr"] for row in read(folder / "trials.jsonl", TrialRow)}
    assert tried == pytest.approx({0: 1e-3, 1: 0.8, 2: 0.7, 3: 0.6})
