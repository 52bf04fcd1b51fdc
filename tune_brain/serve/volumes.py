"""Decode DICOM and NIfTI files to stacks of 8-bit grey slices."""

import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.errors import ConfigError, ImageError
from tune_brain.portable.pictures import MOST_BYTES, check_scans
from tune_brain.serve.intensity import check_extent, to_grey8, window_of
from tune_brain.serve.rle import check_rle

DEFLATED = b"1.2.840.10008.1.2.1.99"
"""UID of the DICOM transfer syntax that deflates the whole file, to a size that is unknown beforehand."""
GZIP = b"\x1f\x8b"
"""What a gzip file, and each further member of one, begins with."""
THICK = 1.5
"""A series was acquired along the axis whose voxels are this many times as long as along both others."""


def dicom_slices(content: bytes) -> NDArray[np.uint8]:
    """The frames of a DICOM file, as [N, H, W].

    Applies the modality rescale or lookup table, then the window or VOI lookup table; without either,
    stretches the percentiles `TAILS` to black and white.

    Raises:
        ImageError: the file has no pixels, too many, more than it says, or a compression that cannot be
            decoded.
        TooManyScans: a JPEG frame would take too long to decode.
        ConfigError: pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise _missing("DICOM", "pydicom") from None
    # Search the whole file: a preamble of any length may precede the UID, and pydicom inflates without limit.
    if DEFLATED in content:
        raise ImageError("A DICOM file must not be deflated as a whole", found="that transfer syntax")
    data: Any = pydicom.dcmread(BytesIO(content))
    if "PixelData" not in data:
        raise ImageError(
            "A DICOM file must hold an image",
            found=f"modality {data.get('Modality', 'unknown')} without pixels",
        )
    count, samples = int(data.get("NumberOfFrames") or 1), int(data.get("SamplesPerPixel") or 1)
    check_extent((int(data.Columns), int(data.Rows)), count * samples)
    syntax = data.file_meta.TransferSyntaxUID
    try:
        if syntax.is_encapsulated:
            _check_frames(data, count)
        values = data.pixel_array
    except (NotImplementedError, RuntimeError, AttributeError):
        raise ImageError(
            "A DICOM image must be undamaged, in a compression that can be decoded here", found=syntax.name
        ) from None
    if samples == 3 or data.PhotometricInterpretation == "PALETTE COLOR":
        return _from_colour(values, data, count)
    grey = _windowed(values.reshape(count, *values.shape[-2:]), data)
    return 255 - grey if data.PhotometricInterpretation == "MONOCHROME1" else grey


def _check_frames(data: Any, count: int) -> None:
    """Check the compressed frames of a DICOM file before they are decoded.

    Raises:
        ImageError: there are more than `count`, or an RLE frame is larger than it says.
        TooManyScans: a JPEG frame would take too long to decode.
    """
    from pydicom.encaps import generate_frames
    from pydicom.uid import RLELossless

    # Check the frames that pydicom will decode: this table could name others.
    data.pop("ExtendedOffsetTable", None)
    for number, frame in enumerate(generate_frames(data.PixelData, number_of_frames=count), 1):
        if number > count:
            raise ImageError(
                "A DICOM file must not hold more frames than it says", found=f"more than {count}"
            )
        # Whatever syntax is claimed: the decoder of JPEG 2000 takes other JPEGs too.
        check_scans(frame)
        if data.file_meta.TransferSyntaxUID == RLELossless:
            check_rle(frame, data.Rows * data.Columns)


def _from_colour(values: NDArray[Any], data: Any, count: int) -> NDArray[np.uint8]:
    """The brightness of frames in colour, or of indices into a palette."""
    from pydicom.pixels import apply_color_lut

    bits = int(data.BitsAllocated)
    if data.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, data)
        bits = 8 * values.dtype.itemsize
    values = values.reshape(count, *values.shape[-3:]) @ np.array([0.299, 0.587, 0.114])
    return to_grey8(values, 0, 2**bits - 1)


def _windowed(values: NDArray[Any], data: Any) -> NDArray[np.uint8]:
    """Frames as the file says that they are to be displayed."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    values = apply_modality_lut(values, data)
    if data.get("VOILUTSequence"):
        entries = data.VOILUTSequence[0].LUTDescriptor
        return to_grey8(apply_voi_lut(values, data), 0, 2 ** int(entries[2]) - 1)
    if data.get("WindowCenter") is not None and data.get("WindowWidth"):
        centre, width = (_first(data[name].value) for name in ("WindowCenter", "WindowWidth"))
        # DICOM PS3.3, C.11.2.1.2.1.
        low = centre - 0.5 - (width - 1) / 2
        return to_grey8(values.astype(np.float64), low, low + max(width - 1, 1e-6))
    return to_grey8(values, *window_of(values))


def nifti_slices(content: bytes) -> NDArray[np.uint8]:
    """The slices of a NIfTI file (.nii or .nii.gz), as [N, H, W], upright as radiologists view them.

    Slices are taken across the axis along which voxels are clearly the longest, the direction of
    acquisition of a 2D series; where none is, they are axial. Axial slices show anterior at the top, coronal
    and sagittal ones superior. Axial and coronal slices show the patient's right on the left, sagittal ones
    anterior on the left. Intensities are stretched over the whole volume.

    Raises:
        ImageError: the file is too large, not NIfTI, or does not hold one volume of real numbers.
        ConfigError: nibabel is not installed.
    """
    try:
        import nibabel
        from nibabel.affines import voxel_sizes
    except ImportError:
        raise _missing("NIfTI", "nibabel") from None
    if content.startswith(GZIP):
        unpacking = zlib.decompressobj(wbits=31)
        content = unpacking.decompress(content, 4 * MOST_BYTES)
        if unpacking.unconsumed_tail:
            raise ImageError(
                f"A NIfTI file must unpack to at most {4 * MOST_BYTES // 2**20} MB", found="more"
            )
        if unpacking.unused_data.startswith(GZIP):
            raise ImageError(
                "A .nii.gz file must be one gzip member",
                found="several",
                remedy="Send the .nii file, or compress that with gzip.",
            )
    if not is_nifti(content):
        raise ImageError("A NIfTI file must be a single file, .nii or .nii.gz", found="something else")
    kind: Any = nibabel.Nifti1Image if content[344:348] == b"n+1\0" else nibabel.Nifti2Image
    image = kind.from_bytes(content)
    shape = [max(int(side), 1) for side in image.shape]
    check_extent((shape[0], shape[1] if len(shape) > 1 else 1), int(np.prod(shape[2:], dtype=np.int64)))
    if any(side > 1 for side in image.shape[3:]):
        raise ImageError(
            "A NIfTI file must hold a single volume",
            found=" x ".join(map(str, image.shape)),
            remedy="Save one of its volumes as a file of its own.",
        )
    if len(image.shape) < 3:
        image = kind(np.asanyarray(image.dataobj).reshape((*image.shape, 1, 1)[:3]), image.affine)
    canonical = nibabel.as_closest_canonical(image)  # axes run to the right, anterior and superior
    values = np.asanyarray(canonical.dataobj)
    if values.dtype.names or not np.isrealobj(values):
        raise ImageError("A NIfTI image must hold real numbers", found=str(values.dtype))
    thick = _slice_axis(values.shape[:3], voxel_sizes(canonical.affine).tolist())
    across, down = (axis for axis in range(3) if axis != thick)
    values = np.flip(values.reshape(values.shape[:3]), (across, down)).transpose(thick, down, across)
    return to_grey8(values, *window_of(values))


def is_nifti(content: bytes) -> bool:
    """Whether an uncompressed file has the magic number of NIfTI-1 or NIfTI-2."""
    return content[344:348] == b"n+1\0" or content[4:8] == b"n+2\0"


def _slice_axis(shape: Sequence[int], sizes: Sequence[float]) -> int:
    """The axis across which slices were acquired: 0 sagittal, 1 coronal, 2 axial.

    Args:
        shape: voxels to the right, anterior and superior; a single slice is seen by its one voxel.
        sizes: lengths of a voxel to the right, anterior and superior, in mm.
    """
    if list(shape).count(1) == 1:
        return list(shape).index(1)
    *_, second, longest = sorted(sizes)
    return sizes.index(longest) if longest > THICK * second else 2


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, list | tuple) or hasattr(value, "__getitem__") else value)


def _missing(kind: str, package: str) -> ConfigError:
    return ConfigError(
        f"Reading {kind} files needs {package}",
        found="it is not installed",
        remedy="In the checkout, in the same environment: pip install --editable '.[serve]'",
    )
