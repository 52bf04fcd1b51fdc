"""The pictures that a page about a data set shows: few, small, and encoded."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_brain.config import Hyperparameters
from tune_brain.data.cache import Grey, open_grey, square
from tune_brain.data.catalogue import Catalogue

EACH = 6
"""Images of a class in the sample."""
SIDE = 112
"""Longest side of a picture, in pixels."""
MODEL = 64
"""Side of the images as a model sees them, in pixels, as a search takes them by default."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image in three states, as JPEG files."""

    place: int
    """Its place in the catalogue."""
    whole: bytes
    """As read, in its own shape."""
    seen: bytes
    """As a model will see it: the centre, grey, 64 pixels a side."""
    augmented: bytes
    """The same, turned and mirrored at random as in training."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """JPEG files."""

    samples: tuple[tuple[Sample, ...], ...]
    """For each class a few images, spread over its first part."""
    means: tuple[dict[str, bytes], ...]
    """For each class and part the mean of all images, squashed to a square."""
    pairs: tuple[tuple[bytes, bytes], ...]
    """Two images as read, for each pair that was asked for."""


def pictures(catalogue: Catalogue, squashed: NDArray[np.uint8], pairs: Sequence[tuple[int, int]]) -> Pictures:
    """Make the pictures of a data set.

    Args:
        catalogue: N images, all readable.
        squashed: [N, s, s], all of them.
        pairs: places of images to show side by side.
    """
    return Pictures(
        samples=tuple(_samples(catalogue, label) for label in range(len(catalogue.classes))),
        means=tuple(_means(catalogue, squashed, label) for label in range(len(catalogue.classes))),
        pairs=tuple(
            (_shrunk(_read(catalogue, first)), _shrunk(_read(catalogue, second))) for first, second in pairs
        ),
    )


def _samples(catalogue: Catalogue, label: int) -> tuple[Sample, ...]:
    from tune_brain.data.augment import augmented  # torch is not needed before

    part = catalogue.parts[0]
    own = [i for i, image in enumerate(catalogue.images) if (image.part, image.label) == (part, label)]
    chosen = [own[i] for i in np.unique(np.linspace(0, len(own) - 1, EACH).round().astype(int))]
    read = [_read(catalogue, i) for i in chosen]
    seen = np.stack([square(grey, MODEL) for grey in read])
    usual = Hyperparameters.model_fields
    turned = augmented(seen, rotation=usual["rotation"].default, flip=usual["flip"].default, seed=label)
    return tuple(
        Sample(place=i, whole=_shrunk(grey), seen=_encoded(one), augmented=_encoded(other))
        for i, grey, one, other in zip(chosen, read, seen, turned, strict=True)
    )


def _means(catalogue: Catalogue, squashed: NDArray[np.uint8], label: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in catalogue.parts:
        own = [image.label == label and image.part == part for image in catalogue.images]
        found[part] = _encoded(squashed[own].mean(0).round().astype(np.uint8))
    return found


def _read(catalogue: Catalogue, place: int) -> Grey:
    return open_grey((catalogue.root / catalogue.images[place].name).read_bytes(), 2 * SIDE)


def _shrunk(grey: Grey) -> bytes:
    """The whole picture in its own shape, no side over SIDE pixels; at its size where it is smaller."""
    width, height = grey.size
    scale = min(1.0, SIDE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return _jpeg(grey.image.resize(size, Image.Resampling.BILINEAR))


def _encoded(pixels: NDArray[np.uint8]) -> bytes:
    return _jpeg(Image.fromarray(pixels))


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()
