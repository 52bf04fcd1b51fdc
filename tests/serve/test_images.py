"""Every file format is decoded to the pixels that a model should see."""

import gzip
import re
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from tune_brain.data.cache import decode
from tune_brain.errors import ImageError
from tune_brain.portable.pictures import MOST_PIXELS
from tune_brain.serve.images import MOST_PAGES, frames
from tune_brain.serve.volumes import DEFLATED

SIZE = 48
BLACK_IS_ZERO, WHITE_IS_ZERO = (struct.pack("<HHIH", 262, 3, 1, value) for value in (1, 0))
RAMP = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def dicom(values: np.ndarray, syntax: str = ExplicitVRLittleEndian, **fields: Any) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = values.shape[-2:]
    if values.ndim == 3:
        data.NumberOfFrames = len(values)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = values.astype(np.uint16).tobytes()
    for name, value in fields.items():
        setattr(data, name, value)
    file = BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def shown(content: bytes, number: int = 0) -> np.ndarray:
    return frames(content, SIZE)[number].pixels[0, 0].astype(int)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_files_of_a_data_set_give_the_pixels_of_training(phantoms: Path) -> None:
    files = sorted((phantoms / "Testing").rglob("*.*"))
    trained = decode(files, SIZE)[0].pixels
    for file, pixels in zip(files, trained, strict=True):
        (frame,) = frames(file.read_bytes(), SIZE)
        assert np.array_equal(frame.pixels[0], pixels)
        assert frame.shown.shape == (448, 448)


def test_a_dicom_window_sets_black_and_white() -> None:
    plain = shown(dicom(RAMP, WindowCenter=1000.5, WindowWidth=1001))
    expected = shown(saved(Image.fromarray(((RAMP - 500.0) / 1000).clip(0, 1) * 255).convert("L"), "PNG"))
    assert np.abs(plain - expected).max() <= 1
    assert (plain == 255).mean() > 0.5


def test_a_dicom_slope_is_applied_before_the_window() -> None:
    rescaled = dicom(RAMP, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=1901, WindowWidth=2001)
    assert np.abs(shown(rescaled) - shown(dicom(RAMP, WindowCenter=1000.5, WindowWidth=1001))).max() <= 1


def test_monochrome1_is_inverted() -> None:
    negative = shown(dicom(RAMP, PhotometricInterpretation="MONOCHROME1"))
    assert np.abs(negative + shown(dicom(RAMP)) - 255).max() <= 1


def test_every_frame_of_a_dicom_file_is_a_picture() -> None:
    volume = np.stack([RAMP, RAMP[::-1], RAMP.T])
    found = frames(dicom(volume), SIZE)
    assert [(frame.number, frame.of) for frame in found] == [(1, 3), (2, 3), (3, 3)]
    assert np.array_equal(found[1].pixels[0, 0], found[0].pixels[0, 0][::-1])
    assert [frame.number for frame in frames(dicom(volume), SIZE, most=2)] == [1, 3]


def test_a_dicom_preamble_that_looks_like_tiff_is_ignored() -> None:
    disguised = b"II*\0".ljust(128, b"\0") + dicom(RAMP)[128:]
    assert np.array_equal(shown(disguised), shown(dicom(RAMP)))


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("flipped", [1, -1])
def test_an_axial_nifti_slice_shows_anterior_at_the_top_and_right_on_the_left(
    kind: Any, flipped: int
) -> None:
    volume = np.zeros((64, 64, 3), np.float32)  # right, anterior, superior
    volume[40:60, 44:60, 1] = 100  # right anterior
    if flipped < 0:  # stored from right to left
        volume = volume[::-1]
    content = kind(volume, np.diag([flipped, 1, 1, 1])).to_bytes()
    found = frames(content, SIZE)[1].pixels[0, 0]
    assert found[:24, :24].mean() > 60
    assert found[24:].max() == found[:, 24:].max() == 0


# The thick axis, and two others as (to the left of a slice, to its top): R, A, S are axes 0, 1, 2.
@pytest.mark.parametrize(("thick", "left", "top"), [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_a_nifti_series_is_sliced_along_its_thick_axis_and_upright(thick: int, left: int, top: int) -> None:
    shape, sizes = [256] * 3, [1.0] * 3
    shape[thick], sizes[thick] = 24, 5.5
    volume = np.zeros(shape, np.float32)
    corner = [slice(160, 240)] * 3
    corner[top], corner[thick] = slice(220, 240), slice(3, 4)
    volume[tuple(corner)] = 100
    found = frames(nibabel.Nifti1Image(volume, np.diag([*sizes, 1])).to_bytes(), SIZE)
    assert [frame.of for frame in found] == [24] * 24
    bright = found[3].pixels[0, 0]
    assert bright[4:6, 4:17].min() > 200  # a wide rectangle at the top left
    assert bright[9:].max() == bright[:, 20:].max() == found[4].pixels.max() == 0
    # The affine decides what an axis is, not its position in the file.
    affine = np.zeros((4, 4))
    affine[[left, top, thick, 3], [0, 1, 2, 3]] = [1, 1, 5.5, 1]
    stored = nibabel.Nifti1Image(volume.transpose(left, top, thick), affine)
    for one, other in zip(found, frames(stored.to_bytes(), SIZE), strict=True):
        assert np.array_equal(one.pixels, other.pixels)


def test_a_nifti_volume_without_a_thick_axis_is_sliced_axially() -> None:
    volume = np.zeros((9, 10, 11, 1), np.float32)
    volume[..., 7, 0] = 1
    found = frames(nibabel.Nifti1Image(volume, np.diag([1.4, 1, 1, 1])).to_bytes(), SIZE)
    assert [frame.number for frame in found if frame.pixels.any()] == [7 + 1]
    assert len(found) == 11


@pytest.mark.parametrize("shape", [(64, 32), (64, 32, 1), (1, 64, 32), (64, 1, 32)])
@pytest.mark.parametrize("affine", [np.eye(4), np.diag([-1, -1, 1, 1]), np.diag([1, 2, 1, 1])])
def test_a_single_nifti_slice_is_shown_whole(shape: tuple[int, ...], affine: np.ndarray) -> None:
    image = nibabel.Nifti1Image(np.ones(shape, np.float32), affine)
    (found,) = frames(image.to_bytes(), SIZE)
    assert found.of == 1


def test_a_series_longer_than_the_limit_is_sampled_or_refused() -> None:
    content = nibabel.Nifti1Image(np.zeros((2, 2, MOST_PAGES + 1), np.uint8), np.eye(4)).to_bytes()
    with pytest.raises(ImageError, match=f"at most {MOST_PAGES} pictures"):
        frames(content, SIZE)
    assert [one.number for one in frames(content, SIZE, most=2)] == [1, MOST_PAGES + 1]


def test_every_page_of_a_tiff_is_a_picture() -> None:
    pages = [Image.fromarray((RAMP // 16).astype(np.uint8)), Image.new("L", (64, 64))]
    found = frames(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]), SIZE)
    assert [frame.of for frame in found] == [2, 2]
    assert np.array_equal(found[0].pixels[0, 0], shown(saved(pages[0], "PNG")))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "LA", "P", "1", "I;16"])
def test_any_kind_of_colour_is_read(mode: str) -> None:
    image = Image.fromarray(RAMP * 16) if mode == "I;16" else Image.fromarray((RAMP // 16).astype(np.uint8))
    image = image if mode == "I;16" else image.convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert len(frames(saved(image, kind), SIZE)) == 1


def nifti(values: np.ndarray) -> bytes:
    return nibabel.Nifti1Image(values, np.eye(4)).to_bytes()


VOLUME = nifti(np.ones((9, 9, 2), np.float32))


def jpeg_of_claimed_size() -> bytes:
    content = saved(Image.new("L", (64, 64)), "JPEG")
    return content.replace(struct.pack(">HH", 64, 64), b"\xff\xf0" * 2)


DAMAGED = "found: a truncated or damaged one"
BAD = {
    "empty": (b"", "an empty file"),
    "text": (b"hello", "something else"),
    "truncated": (saved(Image.effect_noise((64, 64), 50), "PNG")[:2000], DAMAGED),
    "start of a PNG": (b"\x89PNG\r\n\x1a\n", DAMAGED),
    "no pixels": (dicom(RAMP, PixelData=b""), DAMAGED),
    "not compressed as claimed": (
        dicom(RAMP, JPEGBaseline8Bit, PixelData=encapsulate([b"hello!"])),
        "JPEG Base",
    ),
    "too many pixels": (saved(Image.new("1", (8000, 6000)), "PNG"), "8000 x 6000"),
    "far too many pixels": (jpeg_of_claimed_size(), "at most 40,000,000 pixels; found: more"),
    "too many frames": (dicom(RAMP, NumberOfFrames=MOST_PIXELS), "64 x 64 x 40000000"),
    "0x0": (dicom(RAMP, Rows=0), "64 x 0"),
    "deflated": (dicom(RAMP).replace(b"1.2.840.10008.1.2.1\0", DEFLATED[:20]) + DEFLATED, "deflated"),
    "deflated behind much else": (dicom(RAMP) + bytes(9000) + DEFLATED, "deflated"),
    "gzip of nothing": (b"\x1f\x8b", "something else"),
    "several members": (gzip.compress(VOLUME[:400]) + gzip.compress(VOLUME[400:]), "one gzip member"),
    "several volumes": (nifti(np.ones((4, 4, 2, 3), np.float32)), "single volume; found: 4 x 4 x 2 x 3"),
    "infinite": (nifti(np.full((9, 9, 2), np.inf, np.float32)), "finite"),
    "complex": (nifti(np.ones((9, 9, 2), np.complex64)), "complex64"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_read_raises_an_image_error_in_words(name: str) -> None:
    content, words = BAD[name]
    with pytest.raises(ImageError, match=words) as error:
        frames(content, SIZE)
    assert not re.search(r"[a-z]Error", str(error.value))


def test_zeros_behind_a_gzip_file_are_ignored() -> None:
    assert len(frames(gzip.compress(VOLUME) + bytes(512), SIZE)) == 2


def test_a_dicom_palette_maps_values_to_brightness() -> None:
    falling = np.arange(255, -1, -1, dtype=np.uint16) * 257
    palette = {
        f"{colour}PaletteColorLookupTable{part}": value
        for colour in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", falling.tobytes()))
    }
    values = (RAMP // 16).astype(np.uint16)
    found = shown(dicom(values, PhotometricInterpretation="PALETTE COLOR", **palette))
    expected = shown(saved(Image.fromarray((255 - values).astype(np.uint8)), "PNG"))
    assert np.abs(found - expected).max() <= 1


def test_a_tiff_of_16_or_32_bits_is_stretched_from_black_to_white() -> None:
    expected = shown(dicom(RAMP))
    for values in (RAMP, RAMP.astype(np.int32) * 1000 - 7, (RAMP / 4096).astype(np.float32)):
        assert np.abs(shown(saved(Image.fromarray(values), "TIFF")) - expected).max() <= 1


def pages_of(count: int) -> bytes:
    """A TIFF of so many pages of one pixel, 42 bytes each."""
    file = bytearray(b"II*\0" + struct.pack("<I", 8))
    for number in range(count):
        after = 8 + 42 * (number + 1) if number + 1 < count else 0
        tags = ((256, 1), (257, 1), (273, 0))
        file += struct.pack("<H", 3) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        file += struct.pack("<I", after)
    return bytes(file)


@pytest.mark.parametrize("kind", [np.float32, np.uint16])
def test_tiff_pages_of_16_or_32_bits_share_one_window(kind: type) -> None:
    faint = np.where(np.arange(64 * 64).reshape(64, 64) % 2, 1.0, 0.0)
    pages = [Image.fromarray(values.astype(kind)) for values in (RAMP, faint)]
    bright, dark = frames(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]), SIZE)
    assert bright.pixels.max() == 255
    assert dark.pixels.max() == 0
    pages[1] = Image.new("L", (64, 64), 200)
    for order in (pages, pages[::-1]):
        found = frames(saved(order[0], "TIFF", save_all=True, append_images=order[1:]), SIZE)
        grey, wide = sorted(found, key=lambda frame: np.ptp(frame.pixels))
        assert np.unique(grey.pixels).tolist() == [200]
        assert np.ptp(wide.pixels) > 250


def test_counting_the_pages_of_a_tiff_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    seek = TiffImagePlugin.TiffImageFile._seek
    monkeypatch.setattr(
        TiffImagePlugin.TiffImageFile, "_seek", lambda self, frame: (read.append(frame), seek(self, frame))[1]
    )
    with pytest.raises(ImageError, match=f"at most {MOST_PAGES} pages"):
        frames(pages_of(MOST_PAGES + 500), SIZE)
    assert max(read) <= MOST_PAGES + 1


def test_a_16_bit_tiff_in_which_0_is_white_is_inverted() -> None:
    positive = saved(Image.fromarray(RAMP), "TIFF")
    negative = positive.replace(BLACK_IS_ZERO, WHITE_IS_ZERO)
    assert np.abs(shown(positive) + shown(negative) - 255).max() <= 1


def test_a_16_bit_tiff_is_turned_as_its_orientation_says() -> None:
    turned = saved(Image.fromarray(RAMP), "TIFF", tiffinfo={274: 3})
    assert np.array_equal(shown(turned), shown(saved(Image.fromarray(RAMP), "TIFF"))[::-1, ::-1])
