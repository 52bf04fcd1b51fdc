"""A picture in grey, square, as a model sees it: the one way from a file to pixels.

Every bundle holds a copy of this file, so it imports nothing of tune_brain.
"""

from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

THUMBNAIL = 32
"""Side of the thumbnails by which images are compared, in pixels."""
MARGIN = 3
"""A JPEG is decoded at the smallest scale that leaves so many pixels for one that is kept."""
FORMATS = ("JPEG", "PNG")
MOST_PIXELS = 40_000_000
"""Of one file: with transparency half a GB is in use while they are decoded."""
MOST_BYTES = 64 * 1024 * 1024
"""Of one file."""


class Grey(NamedTuple):
    """A picture in 8-bit grey, upright, perhaps decoded at a part of its size."""

    image: Image.Image
    size: tuple[int, int]
    """Full width and height; at 1 / scale they may end inside the last pixel of `image`."""
    scale: int
    """So many pixels of the picture, across and down, stand in one of `image`."""

    def resized(self, size: int, box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
        """A part of the picture, in its full pixels, as uint8 [size, size], antialiased."""
        left, top, right, bottom = (edge / self.scale for edge in box)
        image = self.image.resize((size, size), Image.Resampling.BILINEAR, (left, top, right, bottom))
        return np.asarray(image)


def open_grey(content: bytes, side: int | None = None) -> Grey:
    """Decode an image file as its EXIF orientation says, transparent parts black.

    Args:
        content: a JPEG or PNG file.
        side: a JPEG is decoded at the smallest of its own scales that leaves both sides this long; at full
            size where it is None, and where the picture has to be turned.

    Raises:
        OSError, SyntaxError, ValueError, Image.DecompressionBombError: as Pillow does on damaged files; the
            last one from `MOST_PIXELS` on.
    """
    with Image.open(BytesIO(content), formats=FORMATS) as image:
        return as_grey(image, side)


def needed(image_size: int) -> int:
    """The side, in pixels, at which a picture is decoded to be shown to a model at `image_size`."""
    return MARGIN * max(image_size, THUMBNAIL)


def check_size(image: Image.Image) -> None:
    """See that an image that has been opened has not too many pixels; of a PNG even EXIF is read after them.

    Raises:
        Image.DecompressionBombError: it has more than `MOST_PIXELS`.
    """
    if image.width * image.height > MOST_PIXELS:
        raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")


def is_turned(image: Image.Image) -> bool:
    """Whether an image asks by its EXIF orientation, 1 upright and 2 to 8 not, to be turned or mirrored."""
    return image.getexif().get(ExifTags.Base.Orientation) in range(2, 9)


def as_grey(image: Image.Image, side: int | None = None) -> Grey:
    """Decode an image that has been opened, see `open_grey`."""
    check_size(image)
    full = image.size
    # A JPEG hands over its brightness channel alone, several times faster than all three.
    image.draft("L", None if side is None or is_turned(image) else (side, side))
    image.load()
    scale = round(full[0] / image.width)
    ImageOps.exif_transpose(image, in_place=True)
    return Grey(_grey(image), full if scale > 1 else image.size, scale)


def square(picture: Grey, size: int) -> NDArray[np.uint8]:
    """The centre of a picture, its shorter side resized to `size`: uint8 [size, size]."""
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return picture.resized(size, (left, top, left + side, top + side))


def squashed(picture: Grey, size: int) -> NDArray[np.uint8]:
    """The whole of a picture, whatever its shape: uint8 [size, size]."""
    return picture.resized(size, (0, 0, *picture.size))


def _grey(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        sixteen = np.asarray(image).astype(np.float32)
        return Image.fromarray(np.rint(sixteen / 257).astype(np.uint8))
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "black"), seen).convert("L")
    return image.convert("L") if image.mode != "L" else image
