"""Decode an image file to a square grey picture: the one path from a file to the pixels that a model sees.

Every bundle contains a copy of this file, so it imports nothing from tune_brain.
"""

import re
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

THUMBNAIL = 32
"""Side of the thumbnails by which images are compared, in pixels."""
MARGIN = 3
"""A JPEG is decoded at the smallest scale that still has this many pixels for each output pixel, per side."""
FORMATS = ("JPEG", "PNG")
MOST_PIXELS = 40_000_000
"""Limit for one file: decoding one with transparency takes half a GB of memory at this size."""
MOST_BYTES = 64 * 1024 * 1024
"""Limit for one file."""
MOST_SCANS = 100
"""Limit for one JPEG. Encoders write about ten for a progressive one."""
_JPEG_START, _SCAN, _END = b"\xff\xd8", 0xDA, 0xD9
_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
"""A JPEG marker with a segment, or the end: no padding, no restart, no escaped FF in compressed data."""


class TooManyScans(ValueError):
    """A JPEG file has more than `MOST_SCANS` scans."""


class Grey(NamedTuple):
    """An 8-bit grey, upright picture, possibly decoded at a fraction of its full size."""

    image: Image.Image
    size: tuple[int, int]
    """Full width and height; divided by `scale` they may end inside the last pixel of `image`."""
    scale: int
    """Full-size pixels, per side, for each pixel of `image`."""

    def resized(self, size: int, box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
        """Crop to a box, in full-size pixels, and resize to uint8 [size, size], antialiased."""
        left, top, right, bottom = (edge / self.scale for edge in box)
        image = self.image.resize((size, size), Image.Resampling.BILINEAR, (left, top, right, bottom))
        return np.asarray(image)


def open_grey(content: bytes, side: int | None = None) -> Grey:
    """Decode an image file, turned as its EXIF orientation says, with transparent parts black.

    Args:
        content: a JPEG or PNG file.
        side: decode a JPEG at the smallest scale libjpeg offers at which both sides have at least this many
            pixels; None decodes at full size, as does an EXIF orientation other than upright.

    Raises:
        TooManyScans: a JPEG would take too long to decode.
        OSError, SyntaxError, ValueError, Image.DecompressionBombError: from Pillow, for damaged files; the
            last one for more than `MOST_PIXELS`.
    """
    check_scans(content)
    with Image.open(BytesIO(content), formats=FORMATS) as image:
        return as_grey(image, side)


def needed(image_size: int) -> int:
    """The side, in pixels, at which to decode a picture for a model with input size `image_size`."""
    return MARGIN * max(image_size, THUMBNAIL)


def check_scans(content: bytes) -> None:
    """Check that a JPEG file does not have too many scans; accepts any other content.

    Each scan of a progressive JPEG costs a pass over the whole picture but may take only a few bytes, so a
    file within `MOST_BYTES` could keep the decoder busy for hours.

    Raises:
        TooManyScans: it has more than `MOST_SCANS`.
    """
    at, scans = 2, 0
    while content.startswith(_JPEG_START) and (found := _SEGMENT.search(content, at)):
        marker, start = content[found.end() - 1], found.end()
        if marker == _END:
            return
        # Metadata may hold anything, a thumbnail with scans of its own for one.
        at = start + max(2, int.from_bytes(content[start : start + 2]))
        scans += marker == _SCAN
        if scans > MOST_SCANS:
            raise TooManyScans(f"more than {MOST_SCANS} scans")


def check_size(image: Image.Image) -> None:
    """Check that an opened image does not have too many pixels.

    Call it before anything else: even the EXIF data of a PNG are read only after its pixels are decoded.

    Raises:
        Image.DecompressionBombError: it has more than `MOST_PIXELS`.
    """
    if image.width * image.height > MOST_PIXELS:
        raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")


def is_turned(image: Image.Image) -> bool:
    """Whether the EXIF orientation asks to rotate or mirror an image: 1 is upright, 2 to 8 are not."""
    return image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)


def as_grey(image: Image.Image, side: int | None = None) -> Grey:
    """Decode an opened image; see `open_grey`.

    The caller has called `check_scans` on a JPEG; libtiff itself limits the scans in a TIFF.
    """
    check_size(image)
    full = image.size
    # The decoder returns a JPEG's luma channel alone, several times faster than all three channels.
    image.draft("L", None if side is None or is_turned(image) else (side, side))
    image.load()
    scale = round(full[0] / image.width)
    ImageOps.exif_transpose(image, in_place=True)
    return Grey(_grey(image), full if scale > 1 else image.size, scale)


def square(picture: Grey, size: int) -> NDArray[np.uint8]:
    """The centre square of a picture, resized to uint8 [size, size]."""
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return picture.resized(size, (left, top, left + side, top + side))


def squashed(picture: Grey, size: int) -> NDArray[np.uint8]:
    """The whole picture resized to uint8 [size, size], ignoring its aspect ratio."""
    return picture.resized(size, (0, 0, *picture.size))


def _grey(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        sixteen_bits = np.asarray(image).astype(np.float32)
        return Image.fromarray(np.rint(sixteen_bits / 257).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "black"), layer).convert("L")
    return image.convert("L") if image.mode != "L" else image
