"""What every model predicted for the sealed test: one file of a run, from which all scores follow."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tune_brain.errors import RunFolderError
from tune_brain.records import DAMAGED, Role, named, replacing, seeds_of, writing

PREDICTIONS = "predictions.npz"
"""Their file in a run's folder."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The test images but for their pixels, and the probabilities that each model gave them."""

    labels: NDArray[np.int64]
    """[N], true classes."""
    unseen: NDArray[np.bool_]
    """[N], False where a training image is a twin."""
    groups: NDArray[np.int64]
    """[N], images of one group share a number."""
    features: NDArray[np.float64]
    """[N, F], see `tune_brain.portable.ood`."""
    names: NDArray[np.str_]
    """[N], paths of the images below the image folder."""
    probabilities: Mapping[str, NDArray[np.float64]]
    """[N, C] by the name of a seed run, and one-hot for `majority` and `nearest_neighbour`."""
    weights: Mapping[str, str]
    """SHA-256 of the weights of each seed run."""

    def part(self, part: str) -> NDArray[np.bool_]:
        """[N], which images belong to a part of the test: `official`, all of them, or `unseen`."""
        return self.unseen | (part == "official")

    @property
    def telling(self) -> str:
        """The part that tells most: unseen, if it has an image."""
        return "unseen" if self.unseen.any() else "official"

    def seed_runs(self, role: Role, arch: str) -> NDArray[np.float64]:
        """[S, N, C], the probabilities of one configuration's seed runs; S is 0 where there are none."""
        return np.array([self.probabilities[name] for name in seeds_of(self.probabilities, role, arch)])


_ARRAYS = ("labels", "unseen", "groups", "features", "names")
_BY_MODEL = ("probabilities", "weights")


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write them to a file, whole or not at all.

    Raises:
        RunFolderError: the file cannot be written.
    """
    arrays = {name: getattr(predictions, name) for name in _ARRAYS}
    for kind in _BY_MODEL:
        arrays |= {f"{kind}/{name}": value for name, value in getattr(predictions, kind).items()}
    with writing(path.parent), replacing(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` has written.

    Raises:
        RunFolderError: the file is missing or damaged, or an older version has written less.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return Predictions(
                **{name: file[name] for name in _ARRAYS},
                probabilities={
                    name: file[f"probabilities/{name}"] for name in named(file.files, "probabilities")
                },
                weights={name: str(file[f"weights/{name}"]) for name in named(file.files, "weights")},
            )
    except DAMAGED as error:
        raise RunFolderError(f"{PREDICTIONS} must be readable", found=f"{path}: {error}") from None
