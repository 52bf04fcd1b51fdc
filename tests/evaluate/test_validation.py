"""The rows of seed runs and their validation predictions: never those of others with the same names."""

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
from tune_brain.evaluate import retrain, stored
from tune_brain.evaluate.retrain import predict_logits, train_all
from tune_brain.evaluate.seed_runs import SeedRun, rows_of
from tune_brain.evaluate.validation import VALIDATED, read, validate
from tune_brain.explain import embeddings
from tune_brain.export import write
from tune_brain.export.write import export
from tune_brain.models import build, state_of
from tune_brain.portable.networks import CPU, INFERENCE, predict
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
SLOTS = Slots(count=1, gpus=0)
MEASURED = {"val_loss": 0.5, "val_accuracy": 0.8, "val_macro_f1": 0.8, "seconds": 1.0}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run in which training takes no time."""

    def each(_: Any, jobs: list[Any], __: Slots) -> Iterator[tuple[int, Any]]:
        for index in range(len(jobs)):
            yield index, (MEASURED, b"weights", "cpu")

    monkeypatch.setattr(compute, "each", each)
    monkeypatch.setattr(compute, "put", lambda shared: shared)
    return runs.create(RunConfig(out=tmp_path / "run", arch=("linear",)), load(default_folder(), ["linear"]))


def trained(run: Run, max_lr: float, seeds: int, slots: Slots = SLOTS) -> list[SeedRun]:
    values = {**run.spaces["linear"].baseline, "max_lr": max_lr}
    training = run.spaces["linear"].trial(
        values, epochs=2, image_size=32, classes=4, seed=1, precision="fp32"
    )
    planned = [
        SeedRun(role="winner", index=index, training=training, values=values) for index in range(seeds)
    ]
    return train_all(run, planned, None, None, slots, Progress())  # type: ignore[arg-type]


def test_seed_runs_that_train_on_the_cpu_although_gpus_were_assigned_are_reported_once(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(run, 0.01, 2, Slots(count=1, gpus=1))
    assert capsys.readouterr().err.count("torch cannot use a GPU") == 1


def test_a_network_predicts_in_fp32_whatever_it_was_trained_in(run: Run) -> None:
    def predicted(precision: Precision) -> NDArray[np.float32]:
        space = run.spaces["linear"]
        training = space.trial(
            space.baseline, epochs=1, image_size=32, classes=4, seed=1, precision=precision
        )
        pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 32, 32), dtype=np.uint8)
        return predict_logits(training, save(state_of(build(training))), pixels)

    assert np.array_equal(predicted("bf16"), predicted("fp32"))


def test_every_winner_predicts_validation_and_the_first_of_an_architecture_embeds_training(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = []

    def inline(function: Any, jobs: list[Any], _: Slots) -> Iterator[tuple[int, Any]]:
        for index, job in enumerate(jobs):
            result = function(*job)
            embedded.append(result[1] is not None)
            yield index, result

    generator = np.random.default_rng(0)
    train, validating = (
        Images(
            pixels=generator.integers(0, 256, (n, 1, 32, 32), dtype=np.uint8),
            labels=np.arange(n) % 4,
            thumbnails=np.zeros((n, 32, 32), np.uint8),
        )
        for n in (5, 3)
    )
    development = Development(classes=("a", "b", "c", "d"), train=train, validation=validating)
    seed_runs = trained(run, 0.01, 2)
    models = [
        build(seed_run.training.model_copy(update={"seed": seed})) for seed, seed_run in enumerate(seed_runs)
    ]
    for seed_run, model in zip(seed_runs, models, strict=True):
        seed_run.weights(run.folder).write_bytes(save(state_of(model)))
    monkeypatch.setattr(compute, "each", inline)
    validated = validate(run.folder, seed_runs, development, SLOTS)
    assert embedded == [True, False]
    assert validated.embeddings.keys() == {seed_runs[0].name}
    assert np.array_equal(validated.embeddings[seed_runs[0].name], embeddings(models[0], train.pixels))
    assert validated.logits.keys() == {seed_run.name for seed_run in seed_runs}
    for seed_run, model in zip(seed_runs, models, strict=True):
        expected = predict(model, validating.pixels, CPU, INFERENCE, batch=1).numpy()
        assert np.array_equal(validated.logits[seed_run.name], expected)


def test_validation_is_predicted_again_only_when_weights_have_changed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_runs, jobs_of_calls = trained(run, 0.01, 2), list[int]()

    def each(_: Any, jobs: list[Any], __: Slots) -> Iterator[tuple[int, Any]]:
        jobs_of_calls.append(len(jobs))
        for index in range(len(jobs)):
            yield index, (np.zeros((2, 2), np.float32), np.zeros((2, 3), np.float16))

    monkeypatch.setattr(compute, "each", each)
    for _ in range(2):
        validate(run.folder, seed_runs, DEVELOPMENT, SLOTS)
    assert jobs_of_calls == [2]
    # The weights of another winner with the same name, or weights that were copied from elsewhere.
    seed_runs[1].weights(run.folder).write_bytes(b"other weights")
    for _ in range(2):
        validate(run.folder, seed_runs, DEVELOPMENT, SLOTS)
    assert jobs_of_calls == [2, 2]


def test_a_seed_run_that_diverges_is_left_out(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def each(_: Any, jobs: list[Any], __: Slots) -> Iterator[tuple[int, Any]]:
        results = [(MEASURED, b"weights", "cpu"), "the training loss was nan", (MEASURED, b"weights", "cpu")]
        yield from enumerate(results[: len(jobs)])

    monkeypatch.setattr(compute, "each", each)
    finished = trained(run, 0.01, 3)
    assert [seed_run.index for seed_run in finished] == [0, 2]
    assert [row.index for row in rows_of(run, finished)] == [0, 2]
    assert all(seed_run.weights(run.folder).exists() for seed_run in finished)


def test_rows_of_more_seeds_than_are_scored_are_ignored(run: Run) -> None:
    trained(run, 0.01, 5)
    assert [row.index for row in rows_of(run, trained(run, 0.01, 3))] == [0, 1, 2]
    assert [row.index for row in rows_of(run, trained(run, 0.01, 5))] == [0, 1, 2, 3, 4]


def test_a_run_without_its_validation_predictions_is_not_exported(tmp_path: Path) -> None:
    to = tmp_path / "exported"
    with pytest.raises(RunFolderError, match=r"sartaj/validation\.npz.*\nTrain the winners again"):
        export(REFERENCE / "sartaj", to)
    assert not list(tmp_path.iterdir())


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("module", [retrain, stored])
def test_a_full_disk_is_an_error_of_the_run(run: Run, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setattr(module, "replacing", full)
    with pytest.raises(RunFolderError, match="No space left"):
        validate(run.folder, [], DEVELOPMENT, SLOTS) if module is stored else trained(run, 0.01, 1)


@pytest.mark.parametrize(
    ("fails", "error", "says"),
    [
        (lambda *_: os.kill(os.getpid(), signal.SIGTERM), Interrupted, "nothing of the export"),
        (full, ConfigError, "Cannot write.*No space left"),
    ],
)
def test_an_export_that_ends_early_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Any, error: type[Exception], says: str
) -> None:
    monkeypatch.setattr(write, "write_text", fails)
    with pytest.raises(error, match=says):
        export(REFERENCE / "sartaj", tmp_path / "models")
    assert list(tmp_path.iterdir()) == []


def test_validation_is_predicted_again_when_its_file_is_damaged(run: Run) -> None:
    (run.folder / VALIDATED).write_bytes(b"damaged")
    with pytest.raises(RunFolderError, match="Train the winners again"):
        read(run.folder)
    validated = validate(run.folder, [], DEVELOPMENT, SLOTS)
    assert read(run.folder).labels.tolist() == validated.labels.tolist() == [0, 1]


def test_seed_runs_predict_on_the_cpu_as_bundles_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    training = run.spaces["linear"].trial(
        run.spaces["linear"].baseline, epochs=2, image_size=16, classes=3, seed=1, precision="fp32"
    )
    # Even if the job has a GPU.
    monkeypatch.setattr(compute, "device", lambda: torch.device("meta"))
    pixels = np.full((2, 1, 16, 16), 9, np.uint8)
    assert predict_logits(training, save(state_of(build(training))), pixels).shape == (2, 3)
