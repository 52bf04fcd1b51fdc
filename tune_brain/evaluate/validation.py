"""The validation logits of the winners' seed runs, and the training embeddings of the exported ones."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tune_brain import compute
from tune_brain.array_types import Float32s, Floats, Ints
from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.retrain import digests, reproducible_logits, trained_model
from tune_brain.evaluate.seed_runs import SeedRun
from tune_brain.evaluate.stored import store, stored
from tune_brain.explain import embeddings
from tune_brain.portable.ood import features
from tune_brain.records import seeds_of
from tune_brain.slots import Slots
from tune_brain.text import quoted

VALIDATED = "validation.npz"
"""The file of a run's folder that holds `Validated`."""


@dataclass(frozen=True, kw_only=True)
class Validated:
    """What calibration is fitted on and what a bundle searches for similar cases, by seed run."""

    labels: Ints
    """[V], true classes of the validation images."""
    logits: dict[str, Float32s]
    """[V, C] by seed run."""
    known: Ints
    """[N], true classes of the training images."""
    embeddings: dict[str, NDArray[np.float16]]
    """[N, D], of the training images, by seed run: only the first of each architecture."""
    features: Floats
    """[V, F], image features of the validation images."""
    known_features: Floats
    """[N, F], image features of the training images."""
    weights: dict[str, str]
    """SHA-256 of each seed run's weights, since another winner's seed runs get the same names."""

    def of(self, arch: str) -> list[str]:
        """The seed runs of an architecture's winner, the exported one first."""
        return seeds_of(self.logits, "winner", arch)


def validate(run: Path, runs: Sequence[SeedRun], development: Development, slots: Slots) -> Validated:
    """Let every winner's seed run predict validation, and the first of each architecture embed training.

    The result is cached in validation.npz in the run's folder and reused while the weights are the same. Must
    be called inside `compute.session`.

    Args:
        run: the run's folder.
        runs: trained seed runs; those of baselines are ignored.
        development: the images for training and validation.
        slots: how many predict at a time.
    """
    winners = [seed_run for seed_run in runs if seed_run.role == "winner"]
    weights = digests(run, winners)
    with contextlib.suppress(RunFolderError):
        cached = read(run)
        # Before version 0.8.1 a number beyond what a float16 can hold was stored as infinite.
        finite = all(np.isfinite(each).all() for each in cached.embeddings.values())
        if cached.weights == weights and finite:
            return cached
    shared = compute.put(development)
    first = {seed_run.training.arch: seed_run.name for seed_run in reversed(winners)}
    jobs = [
        (
            seed_run.training,
            seed_run.weights(run).read_bytes(),
            shared,
            seed_run.name == first[seed_run.training.arch],
        )
        for seed_run in winners
    ]
    results = {
        winners[index].name: result for index, result in compute.each(_predict, jobs, slots.without_gpus())
    }
    validated = Validated(
        labels=np.asarray(development.validation.labels),
        logits={seed_run.name: results[seed_run.name][0] for seed_run in winners},
        known=np.asarray(development.train.labels),
        embeddings={name: results[name][1] for name in first.values()},
        features=features(development.validation.pixels),
        known_features=features(development.train.pixels),
        weights=weights,
    )
    store(run / VALIDATED, validated)
    return validated


def read(run: Path) -> Validated:
    """Read what `validate` has written.

    Raises:
        RunFolderError: the file is damaged, or missing, as in a run that was copied without its weights.
    """
    return stored(
        run / VALIDATED,
        Validated,
        f"An evaluated run needs a readable {VALIDATED}, its winners' predictions on validation",
        remedy=f"Train the winners again, on the images of the run: tune-brain evaluate {quoted(run)}",
    )


def _predict(
    config: TrialConfig, state: bytes, development: Development, with_embeddings: bool
) -> tuple[Float32s, NDArray[np.float16] | None]:
    """Logits on validation and, if asked for, embeddings of the training images."""
    model = trained_model(config, state)
    logits = reproducible_logits(model, development.validation.pixels)
    return logits, embeddings(model, development.train.pixels) if with_embeddings else None
