"""The part of a data set that a search sees, as plain NumPy arrays."""

from dataclasses import dataclass

from tune_brain.array_types import Bytes, Ints


@dataclass(frozen=True, kw_only=True)
class Images:
    """The N images of one part."""

    pixels: Bytes
    """[N, 1, S, S], grey."""
    labels: Ints
    """[N], indices in the tuple of classes."""
    thumbnails: Bytes
    """[N, 32, 32], grey."""


@dataclass(frozen=True, kw_only=True)
class Development:
    """Everything that a search can see: no test images."""

    classes: tuple[str, ...]
    train: Images
    validation: Images
