"""A task that any network learns within seconds, and trials on it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tune_brain.config import Hyperparameters, TrialConfig
from tune_brain.data.arrays import Development, Images
from tune_brain.models import build
from tune_brain.train.fit import fit
from tune_brain.train.training import begin

CPU = torch.device("cpu")


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Make an array read-only, as arrays from Ray's store and memory-mapped ones are."""
    array.flags.writeable = False
    return array


def squares(n: int, seed: int) -> Images:
    """Images [n, 1, 16, 16] with a bright square: in the upper half in class 0, in the lower in class 1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    pixels = rng.integers(0, 60, (n, 1, 16, 16), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        row, column = rng.integers(1, 4) + 8 * label, rng.integers(1, 11)
        image[0, row : row + 4, column : column + 4] = 250
    return Images(
        pixels=frozen(pixels),
        labels=frozen(labels.astype(np.int64)),
        thumbnails=frozen(np.zeros((n, 32, 32), dtype=np.uint8)),
    )


DEVELOPMENT = Development(classes=("above", "below"), train=squares(42, 0), validation=squares(20, 1))


def trial(
    arch: str = "linear",
    *,
    epochs: int = 2,
    cycle: int | None = None,
    seed: int = 0,
    precision: str = "fp32",
    **values: float,
) -> TrialConfig:
    """A short trial on `DEVELOPMENT`; other keywords are hyperparameters."""
    hyperparameters = {"max_lr": 1e-3, "weight_decay": 1e-2, "grad_clip": 1.0, "batch_size": 8, **values}
    return TrialConfig(
        arch=arch,
        epochs=epochs,
        cycle=cycle,
        image_size=16,
        classes=2,
        seed=seed,
        precision=precision,  # type: ignore[arg-type]
        hyperparameters=Hyperparameters.model_validate(hyperparameters),
    )


def rows(config: TrialConfig, development: Development = DEVELOPMENT) -> list[dict[str, float]]:
    """The epoch rows of a trial."""
    return list(fit(begin(build(config), config, development, CPU)))
