"""What an audit records of each image file: thumbnails, size, histogram, hashes and oddities."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_brain.array_types import Bytes, Ints
from tune_brain.data.decoding import Advance, each_file
from tune_brain.portable.pictures import (
    FORMATS,
    THUMBNAIL,
    Grey,
    as_grey,
    check_scans,
    check_size,
    is_turned,
    squashed,
)

FINE = 48
"""Side of the images in which cropped twins are searched for, in pixels."""
SMALL = THUMBNAIL
"""An image with a side shorter than this, in pixels, counts as odd."""
DEEP, BLACK = "16-bit", "16-bit and nearly black"
DIM = 64
"""A 16-bit image whose greys all lie below this after division by 257 used 14 bits or fewer."""
PNG_DEPTH = 24
"""Offset of the bit depth in a PNG file, in bytes."""


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """Facts about the N readable files, in their order."""

    files: Ints
    """[N], indices in the list of files."""
    thumbnails: Bytes
    """[N, 32, 32], the whole image resized to a square, grey."""
    fine: Bytes
    """[N, 48, 48], the same at a higher resolution."""
    sizes: Ints
    """[N, 2], width and height as displayed, in pixels."""
    histograms: NDArray[np.uint32]
    """[N, 256], number of pixels of each grey."""
    pictures: tuple[str, ...]
    """Hashes of size and decoded grey pixels."""
    contents: tuple[str, ...]
    """Hashes of the files."""
    odd: tuple[tuple[str, ...], ...]
    """The kinds of oddity of each image."""


def read_facts(
    files: Sequence[Path], advance: Advance | None = None, *, strict: bool = False
) -> tuple[ImageFacts, dict[int, str]]:
    """Decode files at full size in parallel threads, and collect the facts about each.

    Args:
        files: JPEG and PNG files.
        advance: reports progress.
        strict: raise for transient problems instead of listing them as failures, see `each_file`.

    Returns:
        The facts, and the reason for each file that cannot be decoded, by its index in `files`.

    Raises:
        DataError: with `strict`, a file could not be read, or memory ran out.
    """
    n = len(files)
    small, fine = (np.empty((n, side, side), np.uint8) for side in (THUMBNAIL, FINE))
    sizes, histograms = np.empty((n, 2), np.int64), np.empty((n, 256), np.uint32)

    def hashes_and_oddities(index: int, content: bytes) -> tuple[str, str, tuple[str, ...]]:
        check_scans(content)
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            check_size(image)
            odd = _odd_header(image, content, files[index].suffix.lower())
            grey = as_grey(image)
        small[index], fine[index] = shrunk(grey)
        sizes[index], histograms[index] = grey.size, grey.image.histogram()
        picture = hashlib.sha256("{} {} ".format(*grey.size).encode())
        picture.update(grey.image.tobytes())
        odd += _odd_greys(histograms[index], deep=DEEP in odd)
        return picture.hexdigest(), hashlib.sha256(content).hexdigest(), odd

    by_index, failures = each_file(files, hashes_and_oddities, advance, strict=strict)
    readable = np.array(list(by_index), np.int64)
    pictures, contents, odd = zip(*by_index.values(), strict=True) if by_index else ((), (), ())
    facts = ImageFacts(
        files=readable,
        thumbnails=small[readable],
        fine=fine[readable],
        sizes=sizes[readable],
        histograms=histograms[readable],
        pictures=pictures,
        contents=contents,
        odd=odd,
    )
    return facts, failures


def shrunk(grey: Grey) -> tuple[Bytes, Bytes]:
    """The whole picture resized to [32, 32] and to [48, 48]."""
    # Box averaging first: resampling the full image twice would take half as long as decoding it.
    scale = max(1, min(grey.size) // (2 * FINE))
    means = Grey(grey.image.reduce(scale), grey.size, scale)
    return squashed(means, THUMBNAIL), squashed(means, FINE)


def _odd_header(image: Image.Image, content: bytes, suffix: str) -> tuple[str, ...]:
    """What is odd about an opened, not yet decoded file; a search uses such files all the same."""
    png = image.format == "PNG"
    deep = image.mode.startswith("I") or (png and content[PNG_DEPTH] == 16)
    kinds = {
        "several frames, the first is read": getattr(image, "is_animated", False),
        DEEP: deep,
        "1-bit": image.mode == "1",
        "palette": image.mode == "P",
        "CMYK": image.mode == "CMYK",
        "transparent": image.has_transparency_data,
        "turned by EXIF": is_turned(image),
        "PNG under the name of a JPEG": png and suffix != ".png",
        "JPEG under the name of a PNG": not png and suffix == ".png",
        f"under {SMALL} pixels a side": min(image.size) < SMALL,
    }
    return tuple(kind for kind, applies in kinds.items() if applies)


def _odd_greys(histogram: NDArray[np.uint32], *, deep: bool) -> tuple[str, ...]:
    """What is odd about the greys of a decoded file, which has 16 bits if it is deep."""
    if histogram.max() == histogram.sum():
        return ("one flat grey",)
    return (BLACK,) if deep and not histogram[DIM:].any() else ()
