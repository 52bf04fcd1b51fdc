"""The stored predictions of every model for the sealed test, from which all scores are computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tune_brain.array_types import Flags, Floats, Ints, Names
from tune_brain.evaluate.stored import store, stored
from tune_brain.records import Role, seeds_of

PREDICTIONS = "predictions.npz"
"""The name of the file in a run's folder."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What is known of the test images, without their pixels, and each model's probabilities for them."""

    labels: Ints
    """[N], true classes."""
    unseen: Flags
    """[N], False where the image has a twin, or a known patient, in training or validation."""
    groups: Ints
    """[N], group numbers: related images share one."""
    features: Floats
    """[N, F], image features for out-of-distribution detection, see `tune_brain.portable.ood`."""
    names: Names
    """[N], paths of the images relative to the image folder."""
    probabilities: Mapping[str, Floats]
    """[N, C] by seed run, and one-hot under `majority` and `nearest_neighbour`."""
    weights: Mapping[str, str]
    """SHA-256 of the weights of each seed run."""

    def part(self, part: str) -> Flags:
        """A mask [N] of the images in a part of the test: `official` (all of them) or `unseen`."""
        return self.unseen | (part == "official")

    @property
    def main_part(self) -> str:
        """The part on which classifiers are compared: `unseen`, unless it is empty."""
        return "unseen" if self.unseen.any() else "official"

    def seed_runs(self, role: Role, arch: str) -> Floats:
        """The probabilities [S, N, C] of one configuration's seed runs; S is 0 if there are none."""
        return np.array([self.probabilities[name] for name in seeds_of(self.probabilities, role, arch)])


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions to a file; a failed write leaves the former file as it was.

    Raises:
        RunFolderError: the file cannot be written.
    """
    store(path, predictions)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` has written.

    Raises:
        RunFolderError: the file is missing, damaged, or lacks arrays because an older version wrote it.
    """
    return stored(path, Predictions, f"{PREDICTIONS} must be readable")
