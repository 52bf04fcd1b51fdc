"""Limit what a run-length encoded DICOM image unpacks to, before it is decoded."""

import struct
from itertools import pairwise

from tune_brain.errors import ImageError

HEADER = struct.Struct("<16L")
"""The number of segments, and the offsets of up to 15 (DICOM PS3.5, G.5)."""


def check_rle(frame: bytes, pixels: int) -> None:
    """Check that the segments of a frame unpack to one byte for each pixel at most.

    pydicom unpacks each segment to its end, whatever the size of the image: 64 MB of segments would become
    4 GB.

    Args:
        frame: a frame in the transfer syntax RLE Lossless.
        pixels: rows times columns.

    Raises:
        ImageError: a segment unpacks to more, or segments overlap.
        struct.error: the frame is shorter than its header.
    """
    count, *offsets = HEADER.unpack_from(frame)
    bounds = [*offsets[:count], len(frame)]
    # Segments that overlap would be unpacked several times.
    if bounds != sorted(bounds):
        raise ImageError("The segments of an RLE frame must follow one another", found=f"offsets {bounds}")
    for at, end in pairwise(bounds):
        unpacked = 0
        while at < end:
            head = frame[at]
            # PackBits: below 128 literal bytes follow, above it one byte to repeat; 128 itself does nothing.
            if head < 128:
                at, unpacked = at + head + 2, unpacked + head + 1
            elif head > 128:
                at, unpacked = at + 2, unpacked + 257 - head
            else:
                at += 1
            if unpacked > pixels + 1:  # a segment of odd length may be padded
                raise ImageError(
                    "An RLE segment must unpack to one byte for each pixel", found=f"more than {pixels} bytes"
                )
