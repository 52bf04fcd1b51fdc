"""JPEGs with so many scans that decoding them would take hours."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit
from test_images import SIZE, dicom, saved, shown

from tune_brain.data.cache import decode
from tune_brain.data.image_facts import read_facts
from tune_brain.errors import ImageError
from tune_brain.portable.pictures import MOST_SCANS, TooManyScans, open_grey
from tune_brain.serve.images import frames

START = b"\xff\xda"
"""The marker of a JPEG scan."""


def with_scans(count: int) -> bytes:
    """A JPEG of 16 x 16 pixels with this many scans, all but one of which take 12 bytes."""
    content = saved(Image.new("L", (16, 16), 100), "JPEG", progressive=True)
    last = content[content.rindex(START) : -2]
    return content[:-2] + last * (count - content.count(START)) + content[-2:]


def test_bytes_that_only_look_like_scans_do_not_count() -> None:
    content = saved(Image.new("L", (16, 16), 100), "JPEG")
    noise = START * (MOST_SCANS + 1)
    metadata = b"\xff\xe5" + (len(noise) + 2).to_bytes(2) + noise
    assert np.abs(shown(content[:2] + metadata + content[2:] + noise) - 100).max() <= 1


def test_a_jpeg_with_too_many_scans_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    assert np.abs(shown(with_scans(MOST_SCANS)) - 100).max() <= 1
    content = with_scans(MOST_SCANS + 1)
    with pytest.raises(ImageError, match=f"found: more than {MOST_SCANS}"):
        frames(content, SIZE)
    with pytest.raises(TooManyScans):
        open_grey(content)
    file = tmp_path / "scans.jpg"
    file.write_bytes(content)
    for failures in (decode([file], SIZE)[1], read_facts([file])[1]):
        assert failures == {0: "too many JPEG scans"}


def test_a_dicom_file_with_too_many_jpeg_scans_is_refused() -> None:
    def encapsulated(scans: int, count: int = 1, claimed: str = JPEGBaseline8Bit) -> bytes:
        pixels = encapsulate([with_scans(scans)] * count)
        eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "NumberOfFrames": count}
        return dicom(np.zeros((16, 16)), claimed, PixelData=pixels, **eight)

    assert len(frames(encapsulated(MOST_SCANS, 3), SIZE)) == 3
    for claimed in (JPEGBaseline8Bit, JPEG2000Lossless):
        with pytest.raises(ImageError, match=f"found: more than {MOST_SCANS} scans"):
            frames(encapsulated(MOST_SCANS + 1, claimed=claimed), SIZE)
