"""Look into image files one by one: what each shows, what is odd about it, or why it cannot be read."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_brain.data.decoding import each_file
from tune_brain.portable.pictures import FORMATS, THUMBNAIL, Grey, as_grey, check_size, is_turned, squashed

FINE = 48
"""Side of the images by which cropped twins are compared, in pixels."""
SMALL = THUMBNAIL
"""An image with a side shorter than this is odd."""
DEEP, BLACK = "16-bit", "16-bit and nearly black"
DIM = 64
"""A deep image without a grey from here on has values of 14 bits or fewer, divided by 257 all the same."""
PNG_DEPTH = 24
"""Place of the bit depth in a PNG file."""


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What was seen in N readable files, in their order."""

    files: NDArray[np.int64]
    """[N], places in the list of files."""
    thumbnails: NDArray[np.uint8]
    """[N, 32, 32], the whole image squashed, grey."""
    fine: NDArray[np.uint8]
    """[N, 48, 48], the same, finer."""
    sizes: NDArray[np.int64]
    """[N, 2], width and height as shown, in pixels."""
    histograms: NDArray[np.uint32]
    """[N, 256], pixels of each grey."""
    pictures: tuple[str, ...]
    """Equal where size and every decoded grey pixel are equal."""
    contents: tuple[str, ...]
    """Equal where the files are equal to the byte."""
    odd: tuple[tuple[str, ...], ...]
    """The kinds of oddity of each."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    size: tuple[int, int]
    histogram: NDArray[np.uint32]
    picture: str
    content: str
    odd: tuple[str, ...]


def read_facts(
    files: Sequence[Path], progress: Callable[[int, int], None] | None = None, *, strict: bool = False
) -> tuple[ImageFacts, dict[int, str]]:
    """Decode files at full size, in threads; nothing is changed.

    Args:
        files: JPEG and PNG files.
        progress: called with the number of files done and of all.
        strict: what cannot be read for the moment is an error, as where images are left out for good.

    Returns:
        What was seen, and for each file that cannot be read its place in `files` and the reason.

    Raises:
        DataError: where it is strict, a file could not be read, or memory ended.
    """
    n = len(files)
    small, fine = (np.empty((n, side, side), np.uint8) for side in (THUMBNAIL, FINE))

    def one(index: int, content: bytes) -> _Seen:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            check_size(image)
            odd = _odd_header(image, content, files[index].suffix.lower())
            grey = as_grey(image)
        small[index], fine[index] = shrunk(grey)
        return _seen(grey, content, odd)

    seen, failures = each_file(files, one, progress, strict=strict)
    kept = np.array(list(seen), np.int64)
    every = list(seen.values())
    looked = ImageFacts(
        files=kept,
        thumbnails=small[kept],
        fine=fine[kept],
        sizes=np.array([one.size for one in every], np.int64).reshape(-1, 2),
        histograms=np.array([one.histogram for one in every], np.uint32).reshape(-1, 256),
        pictures=tuple(one.picture for one in every),
        contents=tuple(one.content for one in every),
        odd=tuple(one.odd for one in every),
    )
    return looked, failures


def shrunk(grey: Grey) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The whole picture squashed to [32, 32] and to [48, 48]."""
    # Means of whole pixels first: to resample all of them twice takes half as long as to decode them.
    scale = max(1, min(grey.size) // (2 * FINE))
    means = Grey(grey.image.reduce(scale), grey.size, scale)
    return squashed(means, THUMBNAIL), squashed(means, FINE)


def _seen(grey: Grey, content: bytes, odd: tuple[str, ...]) -> _Seen:
    histogram = np.array(grey.image.histogram(), np.uint32)
    width, height = grey.size
    picture = hashlib.sha256(f"{width} {height} ".encode())
    picture.update(grey.image.tobytes())
    if histogram.max() == width * height:
        odd = (*odd, "one flat grey")
    elif DEEP in odd and not histogram[DIM:].any():
        odd = (*odd, BLACK)
    return _Seen(
        size=grey.size,
        histogram=histogram,
        picture=picture.hexdigest(),
        content=hashlib.sha256(content).hexdigest(),
        odd=odd,
    )


def _odd_header(image: Image.Image, content: bytes, suffix: str) -> tuple[str, ...]:
    """What is odd about a file that has been opened and not yet decoded; the search reads it all the same."""
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
    return tuple(kind for kind, found in kinds.items() if found)
