"""Decode DICOM and NIfTI files to stacks of 8-bit grey slices."""

import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.array_types import Bytes
from tune_brain.errors import ConfigError, ImageError
from tune_brain.portable.pictures import MOST_BYTES, MOST_PIXELS, check_scans
from tune_brain.serve.intensity import check_extent, to_grey8, window_of
from tune_brain.serve.rle import check_rle

DEFLATED = b"1.2.840.10008.1.2.1.99"
"""UID of the DICOM transfer syntax that deflates the whole file, to a size that is unknown beforehand."""
MOST_GROUPS = MOST_PIXELS // 64**2
"""Most frames with functional groups of their own, which are slow to read: so many of 64 x 64 pixels fit."""
GZIP = b"\x1f\x8b"
"""What a gzip file, and each further member of one, begins with."""
THICK = 1.5
"""A series was acquired along the axis whose voxels are this many times as long as along both others."""


def dicom_slices(content: bytes) -> Bytes:
    """The frames of a DICOM file, as [N, H, W].

    Applies the modality rescale or lookup table, then the window or VOI lookup table, each of the frame's own
    functional group, else of the shared one, else of the file. Frames without a window are stretched alike,
    the percentiles `TAILS` to black and white.

    Raises:
        ImageError: the file has no pixels, too many, more than it says, groups for too many frames, or a
            compression that cannot be decoded.
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
    grey = _displayed(values.reshape(count, *values.shape[-2:]), data)
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


def _from_colour(values: NDArray[Any], data: Any, count: int) -> Bytes:
    """The brightness of frames in colour, or of indices into a palette."""
    from pydicom.pixels import apply_color_lut

    bits = int(data.BitsAllocated)
    if data.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, data)
        bits = 8 * values.dtype.itemsize
    values = values.reshape(count, *values.shape[-3:]) @ np.array([0.299, 0.587, 0.114])
    return to_grey8(values, 0, 2**bits - 1)


def _displayed(values: NDArray[Any], data: Any) -> Bytes:
    """Frames [N, H, W] as the file says that each is to be displayed."""
    from pydicom.pixels import apply_modality_lut

    own = len(data.get("PerFrameFunctionalGroupsSequence") or ())
    if own > MOST_GROUPS:
        raise ImageError(
            f"A DICOM file must describe at most {MOST_GROUPS:,} frames one by one", found=f"{own:,}"
        )
    # One part for each frame with functional groups of its own; all others are displayed alike.
    parts = [slice(number, number + 1) for number in range(min(own, len(values)))]
    if own < len(values):
        parts.append(slice(own, None))
    rescaled = [
        apply_modality_lut(values[part], _macro(data, part.start, "PixelValueTransformationSequence"))
        for part in parts
    ]
    windowed = [
        _windowed(frames, _macro(data, part.start, "FrameVOILUTSequence"))
        for part, frames in zip(parts, rescaled, strict=True)
    ]
    missing = any(grey is None for grey in windowed)
    window = window_of(np.concatenate(rescaled, dtype=np.float32)) if missing else (0.0, 1.0)
    return np.concatenate(
        [
            to_grey8(frames, *window) if grey is None else grey
            for frames, grey in zip(rescaled, windowed, strict=True)
        ]
    )


def _macro(data: Any, frame: int, name: str) -> Any:
    """What a frame is displayed with: its own functional group, the shared one, else the file's attributes.

    Args:
        data: the file.
        frame: counted from 0.
        name: of the sequence that holds a group, as in DICOM PS3.3, C.7.6.16.2.
    """
    for groups, place in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = data.get(groups) or ()
        if place < len(items) and items[place].get(name):
            return items[place][name].value[0]
    return data


def _windowed(values: NDArray[Any], macro: Any) -> Bytes | None:
    """Frames through a VOI lookup table or a window; None without one."""
    from pydicom.pixels import apply_voi

    if macro.get("VOILUTSequence"):
        entries = macro.VOILUTSequence[0].LUTDescriptor
        return to_grey8(apply_voi(values, macro), 0, 2 ** int(entries[2]) - 1)
    if macro.get("WindowCenter") is None or not macro.get("WindowWidth"):
        return None
    centre, width = (_first(macro[name]) for name in ("WindowCenter", "WindowWidth"))
    # The functions of DICOM PS3.3, C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2. Those of pydicom need
    # attributes that a functional group lacks.
    function = macro.get("VOILUTFunction")
    if function not in ("LINEAR_EXACT", "SIGMOID"):  # LINEAR, the default
        centre, width = centre - 0.5, width - 1
    if width < 0 or (function == "SIGMOID" and not (width > 0 and np.isfinite(centre))):
        return None
    if function == "SIGMOID":
        # A hyperbolic tangent is the same curve, but cannot overflow.
        return to_grey8(np.tanh(2 * (values - centre) / width), -1, 1)
    return to_grey8(values, centre - width / 2, centre + width / 2)


def nifti_slices(content: bytes) -> Bytes:
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


def _first(element: Any) -> float:
    return float(element.value[0] if element.VM > 1 else element.value)


def _missing(kind: str, package: str) -> ConfigError:
    return ConfigError(
        f"Reading {kind} files needs {package}",
        found="it is not installed",
        remedy="In the checkout, in the same environment: pip install --editable '.[serve]'",
    )
