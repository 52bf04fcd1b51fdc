"""Read image files in parallel threads, and explain in words why a file could not be decoded."""

import errno
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from tune_brain.errors import DataError
from tune_brain.portable.pictures import MOST_BYTES, TooManyScans

AT_ONCE = 16
"""Files that a thread processes per task; one task per small file would waste part of the speed-up."""

Result = TypeVar("Result")
Advance = Callable[[int, int], None]
"""Reports progress: called with the number of files done and the total."""


def each_file(
    files: Sequence[Path],
    decode: Callable[[int, bytes], Result],
    advance: Advance | None = None,
    *,
    strict: bool,
) -> tuple[dict[int, Result], dict[int, str]]:
    """Read image files and decode each one.

    Args:
        files: paths of the files.
        decode: maps a file's index and content to a result, which is not None; an exception means that the
            file cannot be decoded.
        advance: reports progress.
        strict: raise for transient problems (permissions, I/O errors, memory) instead of listing them as
            failures; for callers that leave failed images out permanently.

    Returns:
        Results by index, and the reason for each file that cannot be decoded, by index.

    Raises:
        DataError: with `strict`, a file could not be read, or memory ran out.
    """

    def decode_one(index: int) -> tuple[Result | None, str]:
        content = b""
        try:
            content = content_of(files[index])
            return decode(index, content), ""
        except Exception as error:  # decoders raise all kinds of exceptions on damaged files
            if strict:
                _raise_if_transient(error, files[index])
            return None, _reason(error, content)

    results: dict[int, Result] = {}
    failures: dict[int, str] = {}
    n = len(files)
    batches = [range(start, min(start + AT_ONCE, n)) for start in range(0, n, AT_ONCE)]
    with warnings.catch_warnings(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        # Pillow also warns about damaged metadata, which does not affect the pixels.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        decoded = pool.map(lambda batch: [*map(decode_one, batch)], batches)
        for batch, outcomes in zip(batches, decoded, strict=True):
            for index, (result, reason) in zip(batch, outcomes, strict=True):
                if result is None:
                    failures[index] = reason
                else:
                    results[index] = result
            if advance:
                advance(batch.stop, n)
    return results, failures


def content_of(file: Path) -> bytes:
    """The content of an image file.

    Raises:
        OSError: the file cannot be read, or is larger than `MOST_BYTES`.
    """
    if file.stat().st_size > MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return file.read_bytes()


def _raise_if_transient(error: Exception, file: Path) -> None:
    """Refuse to leave an image out for anything but its content, which alone is the same on every machine."""
    problem = "no memory" if isinstance(error, MemoryError) else None
    if isinstance(error, OSError) and error.errno not in (None, errno.EFBIG):
        problem = error.strerror
    if problem:
        raise DataError(
            "Cannot read an image file",
            found=f"{file}: {problem}",
            remedy="Make it readable, or remove it; then call the command again.",
        ) from None


def _reason(error: Exception, content: bytes) -> str:
    """Why a file cannot be decoded, in words."""
    if isinstance(error, UnidentifiedImageError):
        return _actual_format(content) if content else "empty file"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too many pixels"
    if isinstance(error, TooManyScans):
        return "too many JPEG scans"
    if isinstance(error, OSError) and error.errno:
        return f"unreadable ({os.strerror(error.errno)})"
    return "truncated or damaged"


def _actual_format(content: bytes) -> str:
    """What a file named like a JPEG or PNG really is; reads the header, no pixels."""
    try:
        with Image.open(BytesIO(content)) as image:
            return f"{image.format} under another name"
    except Exception:  # whatever a decoder raises, it is not an image
        return "not an image inside"
