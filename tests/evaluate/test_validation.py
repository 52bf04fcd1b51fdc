"""Rows of seed runs, and what these said of validation: theirs, and not that of others by the same name."""

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from tune_brain import compute, runs
from tune_brain.config import Precision, RunConfig
from tune_brain.data.arrays import Development, Images
from tune_brain.errors import ConfigError, Interrupted, RunFolderError
from tune_brain.evaluate import retrain, validation
from tune_brain.evaluate.retrain import SeedRun, logits, rows_of, train_all
from tune_brain.evaluate.validation import VALIDATED, read, validate
from tune_brain.export import write
from tune_brain.export.write import export
from tune_brain.models import build, state_of
from tune_brain.progress import Progress
from tune_brain.runs import Run
from tune_brain.slots import Slots
from tune_brain.space import default_folder, load

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
IMAGES = Images(
    pixels=np.zeros((2, 1, 32, 32), np.uint8),
    labels=np.array([0, 1]),
    thumbnails=np.zeros((2, 32, 32), np.uint8),
)
DEVELOPMENT = Development(classes=("a", "b"), train=IMAGES, validation=IMAGES)
SLOTS = Slots(count=1, cpus=1, gpus=0)
MEASURED = {"val_loss": 0.5, "val_accuracy": 0.8, "val_macro_f1": 0.8, "seconds": 1.0}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run in which training takes no time."""

    def each(_: Any, jobs: list[Any], __: Slots) -> Iterator[tuple[int, Any]]:
        for index in range(len(jobs)):
            yield index, (MEASURED, b"weights")

    monkeypatch.setattr(compute, "each", each)
    monkeypatch.setattr(compute, "put", lambda shared: shared)
    return runs.create(RunConfig(out=tmp_path / "run", arch=("linear",)), load(default_folder(), ["linear"]))


def trained(run: Run, max_lr: float, seeds: int) -> list[SeedRun]:
    values = {**run.spaces["linear"].baseline, "max_lr": max_lr}
    training = run.spaces["linear"].trial(
        values, epochs=2, image_size=32, classes=4, seed=1, precision="fp32"
    )
    planned = [
        SeedRun(role="winner", index=index, training=training, values=values) for index in range(seeds)
    ]
    return train_all(run, planned, None, None, SLOTS, Progress())  # type: ignore[arg-type]


def test_a_network_speaks_in_fp32_whatever_it_was_trained_in(run: Run) -> None:
    def said(precision: Precision) -> NDArray[np.float32]:
        space = run.spaces["linear"]
        training = space.trial(
            space.baseline, epochs=1, image_size=32, classes=4, seed=1, precision=precision
        )
        pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 32, 32), dtype=np.uint8)
        return logits(training, save(state_of(build(training))), pixels)

    assert np.array_equal(said("bf16"), said("fp32"))


def test_what_was_said_stands_until_a_network_is_trained_anew(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_runs, spoke = trained(run, 0.01, 2), list[int]()

    def speak(_: Any, jobs: list[Any], __: Slots) -> Iterator[tuple[int, Any]]:
        spoke.append(len(jobs))
        for index in range(len(jobs)):
            yield index, (np.zeros((2, 2), np.float32), np.zeros((2, 3), np.float16))

    monkeypatch.setattr(compute, "each", speak)
    for _ in range(2):
        validate(run.folder, seed_runs, DEVELOPMENT, SLOTS)
    assert spoke == [2]
    # Another winner by the same name, or a network that came back from elsewhere, whoever trained it.
    seed_runs[1].weights(run.folder).write_bytes(b"other weights")
    for _ in range(2):
        validate(run.folder, seed_runs, DEVELOPMENT, SLOTS)
    assert spoke == [2, 2]


def test_rows_of_more_seeds_than_are_scored_do_not_count(run: Run) -> None:
    trained(run, 0.01, 5)
    assert [row.index for row in rows_of(run, trained(run, 0.01, 3))] == [0, 1, 2]
    assert [row.index for row in rows_of(run, trained(run, 0.01, 5))] == [0, 1, 2, 3, 4]


def test_a_run_that_came_without_what_its_winners_said_is_not_exported(tmp_path: Path) -> None:
    to = tmp_path / "exported"
    with pytest.raises(RunFolderError, match=r"sartaj/validation\.npz.*\nTrain them again"):
        export(REFERENCE / "sartaj", to)
    assert not list(tmp_path.iterdir())


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("room", [retrain, validation])
def test_a_full_disk_is_an_error_of_the_run(run: Run, monkeypatch: pytest.MonkeyPatch, room: Any) -> None:
    monkeypatch.setattr(room, "replacing", full)
    with pytest.raises(RunFolderError, match="No space left"):
        validate(run.folder, [], DEVELOPMENT, SLOTS) if room is validation else trained(run, 0.01, 1)


@pytest.mark.parametrize(
    ("fails", "error", "says"),
    [
        (lambda *_: os.kill(os.getpid(), signal.SIGTERM), Interrupted, "nothing of the export"),
        (full, ConfigError, "must be writable.*No space left"),
    ],
)
def test_an_export_that_ends_early_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Any, error: type[Exception], says: str
) -> None:
    monkeypatch.setattr(write, "write_text", fails)
    with pytest.raises(error, match=says):
        export(REFERENCE / "sartaj", tmp_path / "models")
    assert list(tmp_path.iterdir()) == []


def test_what_was_said_is_said_anew_where_its_file_is_damaged(run: Run) -> None:
    (run.folder / VALIDATED).write_bytes(b"said")
    with pytest.raises(RunFolderError, match="Train them again"):
        read(run.folder)
    found = validate(run.folder, [], DEVELOPMENT, SLOTS)
    assert read(run.folder).labels.tolist() == found.labels.tolist() == [0, 1]


def test_seed_runs_speak_where_bundles_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    training = run.spaces["linear"].trial(
        run.spaces["linear"].baseline, epochs=2, image_size=16, classes=3, seed=1, precision="fp32"
    )
    # Whatever GPU a job has.
    monkeypatch.setattr(compute, "device", lambda: torch.device("meta"))
    pixels = np.full((2, 1, 16, 16), 9, np.uint8)
    assert logits(training, save(state_of(build(training))), pixels).shape == (2, 3)
