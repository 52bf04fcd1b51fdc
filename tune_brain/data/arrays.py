"""What a search sees of a data set: arrays, with no library behind them but numpy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images of one part, in one order."""

    pixels: NDArray[np.uint8]
    """[N, 1, S, S], grey."""
    labels: NDArray[np.int64]
    """[N], places in the tuple of classes."""
    thumbnails: NDArray[np.uint8]
    """[N, 32, 32], grey."""


@dataclass(frozen=True, kw_only=True)
class Development:
    """All that a search can see."""

    classes: tuple[str, ...]
    train: Images
    validation: Images
