"""The pictures that a page about a data set shows: few, small, and encoded."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_brain.config import Hyperparameters
from tune_brain.data.catalogue import Catalogue, Part
from tune_brain.portable.pictures import Grey, open_grey, square

EACH = 5
"""Images of a class in the sample."""
SIDE = 96
"""Side of a picture, in pixels."""
GAP = 6
"""Pixels between pictures."""
MODEL = 64
"""Side of the images as a small model sees them, in pixels; a search takes `RunConfig.image_size`."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """JPEG files, each a row of images: a file for each image would be mostly headers."""

    samples: tuple[dict[str, bytes], ...]
    """For each class a few images of its first part, and of its test part where there is one.

    `whole`: as read, in their own shapes; `seen`: the centres, grey, 64 pixels a side, as a small model will
    see them; `augmented`: these turned and mirrored at random, as in training; `test`: test images as read.
    """
    means: tuple[dict[str, bytes], ...]
    """For each class and part the mean of all images, squashed to a square."""
    pairs: tuple[bytes, ...]
    """Two images as read, for each pair that was asked for."""


def pictures(catalogue: Catalogue, squashed: Bytes, pairs: Sequence[tuple[int, int]]) -> Pictures:
    """Make the pictures of a data set.

    Args:
        catalogue: N images, all readable.
        squashed: [N, s, s], all of them.
        pairs: places of images to show side by side.
    """
    return Pictures(
        samples=tuple(_samples(catalogue, label) for label in range(len(catalogue.classes))),
        means=tuple(_means(catalogue, squashed, label) for label in range(len(catalogue.classes))),
        pairs=tuple(_row([_fitted(_read(catalogue, place)) for place in both]) for both in pairs),
    )


def _samples(catalogue: Catalogue, label: int) -> dict[str, bytes]:
    read = _few(catalogue, catalogue.parts[0], label)
    seen = np.stack([square(grey, MODEL) for grey in read])
    usual = {name: Hyperparameters.model_fields[name].default for name in ("rotation", "flip")}
    found = {
        "whole": _row([_fitted(grey) for grey in read]),
        "seen": _row(seen),
        "augmented": _row(turned(seen, **usual, seed=label)),
    }
    if "test" in catalogue.parts:
        found["test"] = _row([_fitted(grey) for grey in _few(catalogue, "test", label)])
    return found


def _few(catalogue: Catalogue, part: Part, label: int) -> list[Grey]:
    """A few images of a class and part, evenly spaced."""
    own = [i for i, image in enumerate(catalogue.images) if (image.part, image.label) == (part, label)]
    chosen = np.unique(np.linspace(0, len(own) - 1, EACH).round().astype(int))
    return [_read(catalogue, own[i]) for i in chosen]


def turned(images: Bytes, *, rotation: float, flip: float, seed: int) -> Bytes:
    """Images [B, s, s] mirrored and rotated at random, as `tune_brain.data.augment.augment` does in training.

    A page need not wait for torch.
    """
    random = np.random.default_rng(seed)
    angles = random.uniform(-rotation, rotation, len(images))
    mirrors = random.random(len(images)) < flip

    def one(image: Bytes, angle: float, mirror: bool) -> Bytes:
        whole = Image.fromarray(image[:, ::-1] if mirror else image)
        return np.asarray(whole.rotate(angle, Image.Resampling.BILINEAR))

    return np.stack([one(*drawn) for drawn in zip(images, angles, mirrors, strict=True)])


def _means(catalogue: Catalogue, squashed: Bytes, label: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in catalogue.parts:
        own = [image.label == label and image.part == part for image in catalogue.images]
        found[part] = _row([squashed[own].mean(0).round().astype(np.uint8)])
    return found


def _read(catalogue: Catalogue, place: int) -> Grey:
    return open_grey((catalogue.root / catalogue.images[place].name).read_bytes(), 2 * SIDE)


def _fitted(grey: Grey) -> Bytes:
    """The whole picture in its own shape in the middle of a black square [SIDE, SIDE]."""
    width, height = grey.size
    scale = SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    square = Image.new("L", (SIDE, SIDE))
    shrunk = grey.image.resize(size, Image.Resampling.BILINEAR)
    square.paste(shrunk, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(square)


def _row(images: Sequence[Bytes] | Bytes) -> bytes:
    """Images of one height side by side, white between them."""
    gap = np.full((len(images[0]), GAP), 255, np.uint8)
    parts = [piece for image in images for piece in (gap, image)][1:]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(parts, axis=1)).save(file, "JPEG", quality=60, optimize=True)
    return file.getvalue()
