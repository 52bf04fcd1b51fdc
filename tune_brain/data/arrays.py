"""The part of a data set that a search sees, as plain NumPy arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Images:
    """The N images of one part."""

    pixels: NDArray[np.uint8]
    """[N, 1, S, S], grey."""
    labels: NDArray[np.int64]
    """[N], indices in the tuple of classes."""
    thumbnails: NDArray[np.uint8]
    """[N, 32, 32], grey."""


@dataclass(frozen=True, kw_only=True)
class Development:
    """Everything that a search can see: no test images."""

    classes: tuple[str, ...]
    train: Images
    validation: Images
