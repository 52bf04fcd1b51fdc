"""Image files as people have them: JPEG, PNG, TIFF, DICOM and NIfTI, told apart by what is inside.

JPEG and PNG go the way of the training images, so that the same file gives the same pixels. The others become
8-bit grey first. Nothing is trusted: sizes are checked before anything is decoded.
"""

import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tune_brain.errors import ConfigError, ImageError
from tune_brain.portable.pictures import (
    FORMATS,
    MOST_BYTES,
    MOST_PIXELS,
    Grey,
    as_grey,
    needed,
    square,
)

SHOWN = 448
"""Side of the picture that a person sees, in pixels."""
DEFLATED = b"1.2.840.10008.1.2.1.99"
"""DICOM's syntax in which the whole file is packed; nothing tells how large it will be."""
MOST_PAGES = 2000
"""Of a TIFF file; 64 MB hold more than a million, and the more there are, the longer one takes to find."""
WIDE = ("F", "I")
"""Pillow's modes of 32 bits."""
INVERTED = 262
"""The tag of a TIFF that is 0 where white is: PhotometricInterpretation."""
TAILS = (0.5, 99.5)
"""Percentiles that become black and white where a file gives no window."""

KINDS = "JPEG, PNG, TIFF, DICOM or NIfTI"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of a file."""

    number: int
    """From 1."""
    of: int
    """How many the file has."""
    pixels: NDArray[np.uint8]
    """[1, 1, S, S], as a model sees it."""
    shown: NDArray[np.uint8]
    """[448, 448], the same part of the picture, for a person."""


def frames(content: bytes, image_size: int, most: int | None = None) -> list[Frame]:
    """The pictures of a file.

    Args:
        content: the file.
        image_size: S, in pixels.
        most: of a longer series, so many evenly spaced ones; None: all.

    Raises:
        ImageError: the file is none of these, damaged, or too large.
        ConfigError: a library that reads it is not installed.
    """
    if len(content) > MOST_BYTES:
        raise ImageError(f"An image file has at most {MOST_BYTES // 2**20} MB", found=f"{len(content)} bytes")
    try:
        with warnings.catch_warnings():
            # Of damaged metadata, which leave the picture whole.
            warnings.simplefilter("ignore")
            return list(_frames(content, image_size, most))
    except (ImageError, ConfigError):
        raise
    except MemoryError:
        raise ImageError("An image must fit into memory", found="one that does not") from None
    except Exception as error:  # decoders raise whatever a damaged file makes them meet
        raise ImageError("An image must be whole", found=f"{type(error).__name__} while decoding") from None


def _frames(content: bytes, image_size: int, most: int | None) -> Iterator[Frame]:
    # First, since what stands before DICM can look like anything, a TIFF for example.
    if content[128:132] == b"DICM":
        yield from _slices(_dicom(content), image_size, most)
    elif content.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        yield _photograph(content, image_size)
    elif content.startswith((b"II*\0", b"MM\0*")):
        yield from _tiff(content, image_size, most)
    elif _is_nifti(content) or content.startswith(b"\x1f\x8b"):
        yield from _slices(_nifti(content), image_size, most)
    else:
        raise ImageError(f"An image must be {KINDS}", found="something else" if content else "an empty file")


def _photograph(content: bytes, image_size: int) -> Frame:
    with Image.open(BytesIO(content), formats=FORMATS) as image:
        _check(image.size)
        small = as_grey(image, needed(image_size))
    if small.scale > 1:  # decoded too coarsely for a person
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            return _frame(small, as_grey(image, SHOWN), image_size, 1, 1)
    return _frame(small, small, image_size, 1, 1)


def _tiff(content: bytes, image_size: int, most: int | None) -> Iterator[Frame]:
    with Image.open(BytesIO(content), formats=("TIFF",)) as image:
        count = _pages(image)
        _check(image.size, count)
        wide = _wide(image, count)
        # Of 32 bits, whole numbers or not, nothing says what is white: one window for all such pages.
        tails = _tails(wide) if len(wide) else (0.0, 1.0)
        for number in _chosen(count, most):
            image.seek(number)
            _check(image.size, count)
            page = image.copy()
            values = np.asarray(page)
            # Pillow turns those of fewer bits only.
            if page.mode.startswith("I;16") and image.getexif().get(INVERTED) == 0:
                page = Image.fromarray(65535 - values.astype(np.uint16))
            grey = _grey8(_spread(values, *tails)) if page.mode in WIDE else as_grey(page)
            yield _frame(grey, grey, image_size, number + 1, count)


def _wide(image: Image.Image, count: int) -> NDArray[np.float32]:
    """The pixels of all pages of 32 bits, in one line."""
    found = [np.zeros(0, np.float32)]
    for number in range(count):
        image.seek(number)
        if image.mode in WIDE:
            _check(image.size, count)
            found.append(np.asarray(image, np.float32).ravel())
    return np.concatenate(found)


def _pages(image: Image.Image) -> int:
    # Not `n_frames`, which reads all of them.
    count = 1
    try:
        while count <= MOST_PAGES:
            image.seek(count)
            count += 1
    except EOFError:
        image.seek(0)
        return count
    raise ImageError(f"A TIFF file has at most {MOST_PAGES} pages", found="more")


def _slices(volume: NDArray[np.uint8], image_size: int, most: int | None) -> Iterator[Frame]:
    for number in _chosen(len(volume), most):
        grey = _grey8(volume[number])
        yield _frame(grey, grey, image_size, number + 1, len(volume))


def _dicom(content: bytes) -> NDArray[np.uint8]:
    """The slices [N, H, W]."""
    try:
        import pydicom
        from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
    except ImportError:
        raise _lacking("DICOM", "pydicom") from None
    # Anywhere: what stands before it can be of any length, and pydicom inflates without a limit.
    if DEFLATED in content:
        raise ImageError("A DICOM file must not be deflated as a whole", found="that transfer syntax")
    data: Any = pydicom.dcmread(BytesIO(content))
    if "PixelData" not in data:
        raise ImageError(
            "A DICOM file must hold an image", found=f"{data.get('Modality', 'none')} without pixels"
        )
    count, samples = int(data.get("NumberOfFrames") or 1), int(data.get("SamplesPerPixel") or 1)
    _check((int(data.Columns), int(data.Rows)), count * samples)
    try:
        values = data.pixel_array
    except (NotImplementedError, RuntimeError, AttributeError) as error:
        raise ImageError(
            "A DICOM image must be packed in a way that is understood here",
            found=f"{data.file_meta.TransferSyntaxUID.name}: {type(error).__name__}",
        ) from None
    bits = int(data.BitsAllocated)
    if data.PhotometricInterpretation == "PALETTE COLOR":
        values, samples = apply_color_lut(values, data), 3
        bits = 8 * values.dtype.itemsize
    if samples == 3:
        values = values.reshape(count, *values.shape[-3:])
        values = values @ np.array([0.299, 0.587, 0.114])
        return _spread(values, 0, 2**bits - 1)
    values = values.reshape(count, *values.shape[-2:])
    if data.get("VOILUTSequence"):
        looked_up = apply_voi_lut(apply_modality_lut(values, data), data)
        grey = _spread(looked_up, 0, 2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif data.get("WindowCenter") is not None and data.get("WindowWidth"):
        centre, width = (_first(data[name].value) for name in ("WindowCenter", "WindowWidth"))
        # DICOM PS3.3, C.11.2.1.2.1.
        low = centre - 0.5 - (width - 1) / 2
        grey = _spread(apply_modality_lut(values, data).astype(np.float64), low, low + max(width - 1, 1e-6))
    else:
        rescaled = apply_modality_lut(values, data)
        grey = _stretched(rescaled)
    return 255 - grey if data.PhotometricInterpretation == "MONOCHROME1" else grey


def _nifti(content: bytes) -> NDArray[np.uint8]:
    """The slices [N, H, W]."""
    try:
        import nibabel
    except ImportError:
        raise _lacking("NIfTI", "nibabel") from None
    if content.startswith(b"\x1f\x8b"):
        unpacking = zlib.decompressobj(wbits=31)
        content = unpacking.decompress(content, 4 * MOST_BYTES)
        if unpacking.unconsumed_tail:
            raise ImageError("A NIfTI file unpacks to at most 256 MB", found="more")
    if not _is_nifti(content):
        raise ImageError("A NIfTI file must be a single one (.nii or .nii.gz)", found="something else")
    kind: Any = nibabel.Nifti1Image if content[344:348] == b"n+1\0" else nibabel.Nifti2Image
    image = kind.from_bytes(content)
    shape = [max(int(side), 1) for side in image.shape]
    _check((shape[0], shape[1] if len(shape) > 1 else 1), int(np.prod(shape[2:], dtype=np.int64)))
    values = np.asanyarray(nibabel.as_closest_canonical(image).dataobj)
    values = values.reshape(*values.shape[:2], -1) if values.ndim != 3 else values
    if values.dtype.names or not np.isrealobj(values):
        raise ImageError("A NIfTI image must be of plain numbers", found=str(values.dtype))
    # From right, anterior, superior to slices as they are read: the front above, the right side on the left.
    slices = np.moveaxis(values[::-1, ::-1], (0, 1, 2), (2, 1, 0))
    return _stretched(slices)


def _is_nifti(content: bytes) -> bool:
    return content[344:348] == b"n+1\0" or content[4:8] == b"n+2\0"


def _frame(seen: Grey, shown: Grey, image_size: int, number: int, of: int) -> Frame:
    pixels = square(seen, image_size)[None, None]
    return Frame(number=number, of=of, pixels=pixels, shown=square(shown, SHOWN))


def _check(size: tuple[int, int], count: int = 1) -> None:
    width, height = size
    if min(width, height, count) < 1 or width * height * count > MOST_PIXELS:
        raise ImageError(
            f"An image has 1 to {MOST_PIXELS:,} pixels, all of its slices together",
            found=f"{width} x {height} x {count}",
        )


def _chosen(count: int, most: int | None) -> list[int]:
    if most is None and count > MOST_PAGES:
        raise ImageError(f"Of one file at most {MOST_PAGES} pictures are looked at", found=count)
    if most is None or count <= most:
        return list(range(count))
    return [round(place) for place in np.linspace(0, count - 1, most).tolist()]


def _grey8(values: NDArray[np.uint8]) -> Grey:
    image = Image.fromarray(np.ascontiguousarray(values))
    return Grey(image, image.size, 1)


def _stretched(values: NDArray[Any]) -> NDArray[np.uint8]:
    return _spread(values, *_tails(values))


def _tails(values: NDArray[Any]) -> tuple[float, float]:
    low, high = np.nanpercentile(values.astype(np.float32), TAILS)
    return float(low), float(high)


def _spread(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """From low..high to 0..255."""
    if not np.isfinite([low, high]).all():
        raise ImageError("An image must be of finite numbers", found=f"{low} to {high}")
    scaled = np.nan_to_num((values.astype(np.float32) - low) / max(high - low, 1e-12))
    spread: NDArray[np.uint8] = np.rint(scaled.clip(0, 1) * 255).astype(np.uint8)
    return spread


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, list | tuple) or hasattr(value, "__getitem__") else value)


def _lacking(kind: str, package: str) -> ConfigError:
    return ConfigError(
        f"{kind} files need {package}",
        found="none installed",
        remedy="In the checkout, into the same environment: pip install --editable '.[serve]'",
    )
