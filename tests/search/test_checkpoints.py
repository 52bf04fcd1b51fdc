"""A worker that dies in the middle of a trial, and the one that takes the trial up."""

from pathlib import Path
from typing import Any

import pytest
import torch
from noise import DEVELOPMENT

from tune_brain.config import Hyperparameters, TrialConfig
from tune_brain.models import build
from tune_brain.search import checkpoints
from tune_brain.search.checkpoints import CheckpointKeeper
from tune_brain.train.fit import fit
from tune_brain.train.training import Training, begin

Rows = list[dict[str, float]]


def training(**changed: Any) -> Training:
    hyperparameters = Hyperparameters(max_lr=1e-2, weight_decay=0.0, grad_clip=1.0, batch_size=8)
    fields = {"arch": "linear", "epochs": 4, "image_size": 16, "classes": 2, "seed": 0, **changed}
    config = TrialConfig(hyperparameters=hyperparameters, **fields)
    return begin(build(config), config, DEVELOPMENT, torch.device("cpu"))


def train(keeper: CheckpointKeeper, trial: int = 3, epochs: int = 4, **changed: Any) -> Rows:
    """Up to so many epochs of a trial, the way a worker trains it; then the worker is gone."""
    under_way = training(**changed)
    rows = keeper.restore_or_begin(trial, under_way)
    for row in fit(under_way):
        rows.append(row)
        # Or a checkpoint is passed over while the one before is being written.
        keeper.finish()
        keeper.keep(under_way, rows)
        if row["epoch"] == epochs:
            break
    keeper.finish()
    return rows


def untimed(rows: Rows) -> Rows:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def keeper_in(folder: Path, budget: int = 10_000_000, made_with: str = "these images") -> CheckpointKeeper:
    return CheckpointKeeper(folder, budget, made_with, every=0)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_trial_goes_on_from_its_checkpoint_with_the_same_rows(folder: Path, epochs: int) -> None:
    whole = train(keeper_in(folder / "other"))
    before = train(keeper_in(folder), epochs=epochs)
    after = train(keeper_in(folder))
    assert after[:epochs] == before
    assert untimed(after) == untimed(whole)


def test_a_trial_that_ends_leaves_no_checkpoint(folder: Path) -> None:
    keeper = keeper_in(folder)
    train(keeper, epochs=2)
    assert [file.name for file in folder.iterdir()] == ["3.safetensors"]
    keeper.drop()
    assert list(folder.iterdir()) == []


def test_what_a_killed_worker_was_writing_goes_with_its_trial(folder: Path) -> None:
    keeper = keeper_in(folder)
    train(keeper, epochs=2)
    for name in ("3.other-host-7.part", "30.other-host-7.part"):
        (folder / name).write_bytes(b"half")
    keeper.drop()
    assert [file.name for file in folder.iterdir()] == ["30.other-host-7.part"]


def test_two_workers_at_one_trial_do_not_write_one_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asides, save = set[Path](), checkpoints.save_file

    def note(state: Any, aside: Path, metadata: Any) -> None:
        asides.add(aside)
        save(state, aside, metadata)

    monkeypatch.setattr(checkpoints, "save_file", note)
    for machine in ("one", "other"):
        monkeypatch.setattr(checkpoints.socket, "gethostname", lambda machine=machine: machine)
        train(keeper_in(folder), epochs=2)
    assert len(asides) == 2


def test_memory_that_ends_costs_the_checkpoint_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(_: object, file: Path, __: object) -> None:
        file.write_bytes(b"half")
        raise MemoryError

    def copy(_: object) -> None:
        raise RuntimeError("can't allocate memory")

    for name, fails in (("save_file", save), ("capture", copy)):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, name, fails)
            assert len(train(keeper_in(folder))) == 4
        assert not folder.exists() or list(folder.iterdir()) == []


def test_another_configuration_of_the_same_number_begins_anew(folder: Path) -> None:
    train(keeper_in(folder), epochs=2)
    assert len(train(keeper_in(folder), epochs=1, seed=1)) == 1


def test_a_trial_on_other_images_begins_anew(folder: Path) -> None:
    train(keeper_in(folder), epochs=2)
    assert len(train(keeper_in(folder, made_with="others"), epochs=1)) == 1


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_a_damaged_checkpoint_is_passed_over(folder: Path, keep: int) -> None:
    train(keeper_in(folder), epochs=2)
    file = folder / "3.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert [row["epoch"] for row in train(keeper_in(folder))] == [1, 2, 3, 4]


def test_a_checkpoint_that_would_exceed_the_budget_is_not_written(folder: Path) -> None:
    one = sum(tensor.nbytes for tensor in training().model.state_dict().values()) * 3
    budget = int(one * 1.5)
    first, second = keeper_in(folder, budget), keeper_in(folder, budget)
    train(first, trial=1, epochs=1)
    train(second, trial=2, epochs=1)
    assert (first.over_budget, second.over_budget) == (False, True)
    assert [file.name for file in folder.iterdir()] == ["1.safetensors"]


def test_a_folder_that_cannot_be_written_costs_the_checkpoint_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(train(keeper_in(tmp_path / "file" / "checkpoints"))) == 4


def test_checkpoints_are_as_far_apart_as_asked(folder: Path) -> None:
    now = iter(range(100))
    keeper = CheckpointKeeper(folder, 10_000_000, every=3, clock=lambda: float(next(now)))
    under_way = training()
    rows = keeper.restore_or_begin(0, under_way)
    written = []
    for row in fit(under_way):
        rows.append(row)
        keeper.keep(under_way, rows)
        keeper.finish()
        written.append((folder / "0.safetensors").exists())
    assert written == [False, False, True, True]


def test_another_workers_file_that_vanishes_while_all_are_counted_costs_no_checkpoint(folder: Path) -> None:
    folder.mkdir()
    (folder / "9.safetensors").symlink_to(folder / "gone")
    train(keeper_in(folder), epochs=1)
    assert (folder / "3.safetensors").exists()
