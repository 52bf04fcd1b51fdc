"""What the winners' seed runs say of validation, and where they place the training images."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load

from tune_brain import compute
from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.retrain import SeedRun, digests, logits
from tune_brain.explain import embeddings
from tune_brain.models import build
from tune_brain.portable.ood import features
from tune_brain.records import DAMAGED, named, replacing, seeds_of, writing
from tune_brain.slots import Slots
from tune_brain.text import quoted

VALIDATED = "validation.npz"
"""What the winners' seed runs said of validation, in a run's folder."""
PLAIN, BY_NAME = ("labels", "known", "features", "known_features"), ("logits", "embeddings", "weights")
"""Its arrays, and those that each seed run has one of."""


@dataclass(frozen=True, kw_only=True)
class Validated:
    """Arrays by the names of seed runs: what calibration may see, what a bundle finds similar cases in."""

    labels: NDArray[np.int64]
    """[V], true classes of the validation images."""
    logits: dict[str, NDArray[np.float32]]
    """[V, C] by seed run."""
    known: NDArray[np.int64]
    """[N], true classes of the training images."""
    embeddings: dict[str, NDArray[np.float16]]
    """[N, D] by seed run: the first of each architecture."""
    features: NDArray[np.float64]
    """[V, F], image features of the validation images."""
    known_features: NDArray[np.float64]
    """[N, F], image features of the training images."""
    weights: dict[str, NDArray[np.str_]]
    """SHA-256 of each seed run's weights: names outlive their winners."""

    def of(self, arch: str) -> list[str]:
        """The seed runs of an architecture's winner, the exported one first."""
        return seeds_of(self.logits, "winner", arch)


def validate(run: Path, runs: Sequence[SeedRun], development: Development, slots: Slots) -> Validated:
    """Let every winner's seed run speak on validation, and the first of each place the training images.

    Kept in validation.npz, in the run's folder. Inside `compute.session`.
    """
    winners = [one for one in runs if one.role == "winner"]
    weights = digests(run, winners)
    with contextlib.suppress(RunFolderError):
        kept = read(run)
        if {name: str(digest) for name, digest in kept.weights.items()} == weights:
            return kept
    shared = compute.put(development)
    first = {one.training.arch: one.name for one in reversed(winners)}
    jobs = [
        (one.training, one.weights(run).read_bytes(), shared, one.name == first[one.training.arch])
        for one in winners
    ]
    results = {
        winners[index].name: result for index, result in compute.each(_speak, jobs, slots.without_gpus())
    }
    found = Validated(
        labels=np.asarray(development.validation.labels),
        logits={one.name: results[one.name][0] for one in winners},
        known=np.asarray(development.train.labels),
        embeddings={name: results[name][1] for name in first.values()},
        features=features(development.validation.pixels),
        known_features=features(development.train.pixels),
        weights={name: np.array(digest) for name, digest in weights.items()},
    )
    _write(run / VALIDATED, found)
    return found


def read(run: Path) -> Validated:
    """What `validate` has kept.

    Raises:
        RunFolderError: it is not there, as in a run that came without its weights, or damaged.
    """
    try:
        with np.load(run / VALIDATED, allow_pickle=False) as file:
            plain: dict[str, Any] = {key: file[key] for key in PLAIN}
            by_name: dict[str, Any] = {
                kind: {name: file[f"{kind}/{name}"] for name in named(file.files, kind)} for kind in BY_NAME
            }
    except DAMAGED as error:
        raise RunFolderError(
            f"An evaluated run holds {VALIDATED}, which says what its winners answered on validation",
            found=f"{run / VALIDATED}: {error}",
            remedy=f"Train them again, on the images of the run: tune-brain evaluate {quoted(run)}",
        ) from None
    return Validated(**plain, **by_name)


def _write(path: Path, found: Validated) -> None:
    arrays = {key: getattr(found, key) for key in PLAIN}
    arrays |= {f"{kind}/{name}": array for kind in BY_NAME for name, array in getattr(found, kind).items()}
    with writing(path.parent), replacing(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _speak(
    config: TrialConfig, state: bytes, development: Development, place: bool
) -> tuple[NDArray[np.float32], NDArray[np.float16] | None]:
    """Logits on validation and, where asked for, embeddings of the training images."""
    said = logits(config, state, development.validation.pixels)
    if not place:
        return said, None
    model = build(config)
    model.load_state_dict(load(state))
    return said, embeddings(model, development.train.pixels)
