"""Sample pictures for the page of an audit: few, small, and encoded as JPEG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tune_brain.array_types import Bytes
from tune_brain.config import Hyperparameters
from tune_brain.data.catalogue import Catalogue, Part
from tune_brain.portable.pictures import Grey, open_grey, square

EACH = 5
"""Sample images per class."""
SIDE = 96
"""Side of a picture, in pixels."""
GAP = 6
"""Width of the gap between pictures, in pixels."""
MODEL = 64
"""Side of the images as a small model would see them, in pixels; a search uses `RunConfig.image_size`."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """JPEG files, each with a row of images: with one image each they would be mostly headers."""

    samples: tuple[dict[str, bytes], ...]
    """For each class, a few images of its first part, and of its test part if there is one.

    `whole`: uncropped; `seen`: the grey centres, 64 pixels a side, as a small model would see them;
    `augmented`: these randomly rotated and flipped as in training; `test`: test images, uncropped.
    """
    means: tuple[dict[str, bytes], ...]
    """For each class and part, the mean of all images, resized to a square."""
    pairs: tuple[bytes, ...]
    """The two uncropped images of each requested pair."""


def pictures(catalogue: Catalogue, squashed: Bytes, pairs: Sequence[tuple[int, int]]) -> Pictures:
    """Make the pictures of a data set.

    Args:
        catalogue: N images, all of them readable.
        squashed: [N, s, s], the images resized to a square.
        pairs: indices of the images to show side by side.
    """
    return Pictures(
        samples=tuple(_samples(catalogue, label) for label in range(len(catalogue.classes))),
        means=tuple(_means(catalogue, squashed, label) for label in range(len(catalogue.classes))),
        pairs=tuple(_row([_fitted(_read(catalogue, place)) for place in both]) for both in pairs),
    )


def _samples(catalogue: Catalogue, label: int) -> dict[str, bytes]:
    images = _few(catalogue, catalogue.parts[0], label)
    seen = np.stack([square(grey, MODEL) for grey in images])
    defaults = {name: Hyperparameters.model_fields[name].default for name in ("rotation", "flip")}
    samples = {
        "whole": _row([_fitted(grey) for grey in images]),
        "seen": _row(seen),
        "augmented": _row(turned(seen, **defaults, seed=label)),
    }
    if "test" in catalogue.parts:
        samples["test"] = _row([_fitted(grey) for grey in _few(catalogue, "test", label)])
    return samples


def _few(catalogue: Catalogue, part: Part, label: int) -> list[Grey]:
    """A few images of a class and part, evenly spaced."""
    own = [i for i, image in enumerate(catalogue.images) if (image.part, image.label) == (part, label)]
    chosen = np.unique(np.linspace(0, len(own) - 1, EACH).round().astype(int))
    return [_read(catalogue, own[i]) for i in chosen]


def turned(images: Bytes, *, rotation: float, flip: float, seed: int) -> Bytes:
    """Flip and rotate images [B, s, s] at random, as `tune_brain.data.augment.augment` does in training.

    Reimplemented so that the page need not wait for the import of torch.

    Args:
        images: grey, uint8.
        rotation: largest angle in either direction, in degrees.
        flip: probability of a horizontal flip.
        seed: of the random draws.
    """
    random = np.random.default_rng(seed)
    angles = random.uniform(-rotation, rotation, len(images))
    mirrors = random.random(len(images)) < flip

    def augmented(image: Bytes, angle: float, mirror: bool) -> Bytes:
        flipped = Image.fromarray(image[:, ::-1] if mirror else image)
        return np.asarray(flipped.rotate(angle, Image.Resampling.BILINEAR))

    return np.stack([augmented(*drawn) for drawn in zip(images, angles, mirrors, strict=True)])


def _means(catalogue: Catalogue, squashed: Bytes, label: int) -> dict[str, bytes]:
    means: dict[str, bytes] = {}
    for part in catalogue.parts:
        inside = [image.label == label and image.part == part for image in catalogue.images]
        means[part] = _row([squashed[inside].mean(0).round().astype(np.uint8)])
    return means


def _read(catalogue: Catalogue, place: int) -> Grey:
    return open_grey((catalogue.root / catalogue.images[place].name).read_bytes(), 2 * SIDE)


def _fitted(grey: Grey) -> Bytes:
    """The whole picture with its aspect ratio, centred on a black square [SIDE, SIDE]."""
    width, height = grey.size
    scale = SIDE / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    square = Image.new("L", (SIDE, SIDE))
    shrunk = grey.image.resize(size, Image.Resampling.BILINEAR)
    square.paste(shrunk, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(square)


def _row(images: Sequence[Bytes] | Bytes) -> bytes:
    """Images of equal height side by side, with white gaps, as a JPEG file."""
    gap = np.full((len(images[0]), GAP), 255, np.uint8)
    parts = [piece for image in images for piece in (gap, image)][1:]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(parts, axis=1)).save(file, "JPEG", quality=60, optimize=True)
    return file.getvalue()
