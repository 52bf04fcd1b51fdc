"""Decode the image files people have: JPEG, PNG, TIFF, DICOM and NIfTI, recognised by their content.

JPEG and PNG files take the same path as the training images, so the same file gives the same pixels. The
other formats are converted to 8-bit grey first. Files are untrusted: sizes are checked before decoding.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from tune_brain.array_types import Bytes, Float32s
from tune_brain.errors import ConfigError, ImageError
from tune_brain.portable.pictures import (
    FORMATS,
    MOST_BYTES,
    MOST_PIXELS,
    MOST_SCANS,
    Grey,
    TooManyScans,
    as_grey,
    check_scans,
    needed,
    square,
)
from tune_brain.serve.intensity import check_extent, to_grey8, window_of
from tune_brain.serve.volumes import GZIP, dicom_slices, is_nifti, nifti_slices

SHOWN = 448
"""Side of the picture displayed to a person, in pixels."""
MOST_PAGES = 2000
"""Limit for one file. A TIFF of 64 MB can hold over a million pages, each slower to find than the last."""
INVERTED = 262
"""TIFF tag PhotometricInterpretation; 0 means that 0 is white."""

KINDS = "JPEG, PNG, TIFF, DICOM or NIfTI"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of a file: a page, a frame or a slice."""

    number: int
    """Counted from 1."""
    of: int
    """Number of pictures in the file."""
    pixels: Bytes
    """[1, 1, S, S], the model's input."""
    shown: Bytes
    """[448, 448], the same part of the picture, for display."""


def frames(content: bytes, image_size: int, most: int | None = None) -> list[Frame]:
    """Decode the pictures of a file.

    JPEG data are limited to `MOST_SCANS` scans a picture: in TIFF files by libtiff, which has the same limit.

    Args:
        content: the file.
        image_size: S, in pixels.
        most: pick this many evenly spaced pictures of a longer series; None: all.

    Raises:
        ImageError: the file is in another format, damaged, or too large.
        ConfigError: the library that reads this format is not installed.
    """
    if len(content) > MOST_BYTES:
        raise ImageError(
            f"An image file must have at most {MOST_BYTES // 2**20} MB", found=f"{len(content)} bytes"
        )
    try:
        with warnings.catch_warnings():
            # Decoders warn about damaged metadata, which does not affect the pixels.
            warnings.simplefilter("ignore")
            return list(_frames(content, image_size, most))
    except (ImageError, ConfigError):
        raise
    except TooManyScans as error:
        raise ImageError(f"A JPEG file must have at most {MOST_SCANS} scans", found=error) from None
    except MemoryError:
        raise ImageError("An image must fit into memory", found="one that does not") from None
    except Image.DecompressionBombError:
        raise ImageError(f"An image must have at most {MOST_PIXELS:,} pixels", found="more") from None
    except Exception:  # decoders raise all kinds of exceptions on damaged files
        raise ImageError(
            "An image must be a complete and undamaged file", found="a truncated or damaged one"
        ) from None


def _frames(content: bytes, image_size: int, most: int | None) -> Iterator[Frame]:
    # DICOM first: its preamble may be anything, the start of a TIFF file for example.
    if content[128:132] == b"DICM":
        yield from _slices(dicom_slices(content), image_size, most)
    elif content.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        yield _photograph(content, image_size)
    elif content.startswith((b"II*\0", b"MM\0*")):
        yield from _tiff(content, image_size, most)
    elif is_nifti(content) or content.startswith(GZIP):
        yield from _slices(nifti_slices(content), image_size, most)
    else:
        raise ImageError(f"An image must be {KINDS}", found="something else" if content else "an empty file")


def _photograph(content: bytes, image_size: int) -> Frame:
    check_scans(content)
    with Image.open(BytesIO(content), formats=FORMATS) as image:
        check_extent(image.size)
        small = as_grey(image, needed(image_size))
    if small.scale > 1:  # decoded too coarsely for display
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            return _frame(small, as_grey(image, SHOWN), image_size, 1, 1)
    return _frame(small, small, image_size, 1, 1)


def _tiff(content: bytes, image_size: int, most: int | None) -> Iterator[Frame]:
    with Image.open(BytesIO(content), formats=("TIFF",)) as image:
        count = _count_pages(image)
        check_extent(image.size, count)
        wide = _all_wide_values(image, count)
        # A page of 16 or 32 bits does not say what is white, and often has 12 bits of values: use one window
        # for all of them.
        window = window_of(wide) if len(wide) else (0.0, 1.0)
        for number in _chosen(count, most):
            image.seek(number)
            check_extent(image.size, count)
            grey = _grey(to_grey8(_wide_values(image), *window)) if _is_wide(image) else as_grey(image.copy())
            yield _frame(grey, grey, image_size, number + 1, count)


def _is_wide(page: Image.Image) -> bool:
    """Whether a page has 16 or 32 bits a pixel, by Pillow's mode: I;16, I;16B, I or F."""
    return page.mode.startswith(("I", "F"))


def _wide_values(page: Image.Image) -> Float32s:
    """The values [H, W] of a page of 16 or 32 bits, larger where it is brighter."""
    values = np.asarray(page, np.float32)
    # Pillow inverts pages with fewer bits only.
    is_negative = page.mode.startswith("I;16") and page.getexif().get(INVERTED) == 0
    return 65535 - values if is_negative else values


def _all_wide_values(image: Image.Image, count: int) -> Float32s:
    """The values of all pages of 16 or 32 bits, flattened."""
    pages = [np.zeros(0, np.float32)]
    for number in range(count):
        image.seek(number)
        if _is_wide(image):
            check_extent(image.size, count)
            pages.append(_wide_values(image).ravel())
    return np.concatenate(pages)


def _count_pages(image: Image.Image) -> int:
    # Not `n_frames`, which has no limit.
    count = 1
    try:
        while count <= MOST_PAGES:
            image.seek(count)
            count += 1
    except EOFError:
        image.seek(0)
        return count
    raise ImageError(f"A TIFF file must have at most {MOST_PAGES} pages", found="more")


def _slices(volume: Bytes, image_size: int, most: int | None) -> Iterator[Frame]:
    for number in _chosen(len(volume), most):
        grey = _grey(volume[number])
        yield _frame(grey, grey, image_size, number + 1, len(volume))


def _frame(seen: Grey, shown: Grey, image_size: int, number: int, of: int) -> Frame:
    pixels = square(seen, image_size)[None, None]
    return Frame(number=number, of=of, pixels=pixels, shown=square(shown, SHOWN))


def _chosen(count: int, most: int | None) -> list[int]:
    if most is None and count > MOST_PAGES:
        raise ImageError(f"A file must have at most {MOST_PAGES} pictures", found=count)
    if most is None or count <= most:
        return list(range(count))
    return [round(place) for place in np.linspace(0, count - 1, most).tolist()]


def _grey(values: Bytes) -> Grey:
    image = Image.fromarray(np.ascontiguousarray(values))
    return Grey(image, image.size, 1)
