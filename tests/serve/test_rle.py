"""Run-length encoded DICOM files that would unpack to far more than their pixels are refused."""

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless
from test_images import RAMP, SIZE, dicom, shown

from tune_brain.errors import ImageError
from tune_brain.serve.images import frames
from tune_brain.serve.rle import SLACK

RUN = b"\x81\x07"
"""128 times the byte 7."""
PIXELS = RAMP.size
MOST = PIXELS + SLACK


def rle(segments: Sequence[bytes], offsets: Sequence[int] = ()) -> bytes:
    """A frame of these segments, whose header may claim other offsets."""
    starts = [64 + sum(map(len, segments[:place])) for place in range(len(segments))]
    header = [len(segments), *(offsets or starts)]
    return struct.pack("<16L", *header, *[0] * (16 - len(header))) + b"".join(segments)


def eight_bits(pixels: Sequence[bytes], **fields: object) -> bytes:
    """A DICOM file of 64 x 64 pixels of a byte each, with these encoded frames."""
    depth = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    return dicom(RAMP, RLELossless, PixelData=encapsulate(pixels), **depth, **fields)


@pytest.mark.parametrize("padding", [b"", b"\x80", b"\x00\x00", b"\x03\x00\x00\x00\x00"])
def test_runs_literals_and_padding_are_unpacked(padding: bytes) -> None:
    high, low = np.uint8(RAMP >> 8).tobytes(), np.uint8(RAMP & 255).tobytes()
    repeated = b"".join(bytes([1, high[at], high[at], 255, high[at + 2]]) for at in range(0, PIXELS, 4))
    literal = b"".join(b"\x7f" + low[at : at + 128] for at in range(0, PIXELS, 128))
    content = dicom(RAMP, RLELossless, PixelData=encapsulate([rle([repeated + padding, literal])]))
    assert np.array_equal(shown(content), shown(dicom(RAMP)))


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (rle([RUN * (MOST // 128) + b"\xff\x07"]), f"more than {MOST} bytes"),
        (rle([RUN * (MOST // 128) + b"\x01\x07\x07"]), f"more than {MOST} bytes"),
        (rle([b"\x80" * (2 * MOST + 1)]), "not be longer than its pixels"),
        (rle([RUN * (PIXELS // 128)] * 2, [64, 10]), r"offsets \[64, 10, 192\]"),
        (rle([RUN * (PIXELS // 128)], [1 << 31]), r"offsets \[2147483648, 128\]"),
    ],
)
def test_a_frame_that_unpacks_to_more_than_its_pixels_is_refused(frame: bytes, found: str) -> None:
    with pytest.raises(ImageError, match=found):
        frames(eight_bits([frame]), SIZE)


def test_frames_beyond_their_claimed_number_are_refused() -> None:
    frame = rle([RUN * (PIXELS // 128)])
    assert len(frames(eight_bits([frame] * 3, NumberOfFrames=3), SIZE)) == 3
    with pytest.raises(ImageError, match="more frames than it says; found: more than 1"):
        frames(eight_bits([frame] * 3), SIZE)


def test_a_second_table_of_frames_cannot_name_others_than_those_checked() -> None:
    bomb, low = rle([RUN * PIXELS]), np.uint8(RAMP & 255).tobytes()
    literal = b"".join(b"\x7f" + low[at : at + 128] for at in range(0, PIXELS, 128))
    # The bomb lies between the header and the only segment.
    frame = rle([bomb + literal], [64 + len(bomb)])
    offset, length = (struct.pack("<Q", value) for value in (64, len(bomb)))
    content = eight_bits([frame], ExtendedOffsetTable=offset, ExtendedOffsetTableLengths=length)
    assert np.array_equal(shown(content), shown(dicom(RAMP & 255)))
