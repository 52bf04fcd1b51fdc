"""Limit what a run-length encoded DICOM image unpacks to, before it is decoded."""

import struct
from itertools import pairwise

from tune_brain.errors import ImageError

HEADER = struct.Struct("<16L")
"""The number of segments, and the offsets of up to 15 (DICOM PS3.5, G.5)."""
SLACK = 1024
"""Bytes beyond the pixels to which a segment may unpack."""


def check_rle(frame: bytes, pixels: int) -> None:
    """Check that the segments of a frame unpack to about one byte for each pixel at most.

    pydicom unpacks each segment to its end, whatever the size of the image: 64 MB of segments would become
    4 GB. Some padding is common, so a segment may unpack to `SLACK` bytes more, and be twice as long as that,
    since PackBits takes at most two bytes for one.

    Args:
        frame: a frame in the transfer syntax RLE Lossless.
        pixels: rows times columns.

    Raises:
        ImageError: a segment is longer, or unpacks to more, or segments overlap.
        struct.error: the frame is shorter than its header.
    """
    count, *offsets = HEADER.unpack_from(frame)
    bounds = [*offsets[:count], len(frame)]
    # Segments that overlap would be unpacked several times.
    if bounds != sorted(bounds):
        raise ImageError("The segments of an RLE frame must follow one another", found=f"offsets {bounds}")
    most = pixels + SLACK
    for at, end in pairwise(bounds):
        if end - at > 2 * most:
            raise ImageError(
                "An RLE segment must not be longer than its pixels need", found=f"{end - at} bytes"
            )
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
            if unpacked > most:
                raise ImageError(
                    "An RLE segment must unpack to one byte for each pixel", found=f"more than {most} bytes"
                )
