"""Image files, looked into in threads: what each shows, or why it cannot be read."""

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
from tune_brain.portable.pictures import MOST_BYTES

AT_ONCE = 16
"""Files that a thread takes up at a time: to take up small ones singly costs some of what threads gain."""

Seen = TypeVar("Seen")


def each_file(
    files: Sequence[Path],
    look: Callable[[int, bytes], Seen],
    progress: Callable[[int, int], None] | None = None,
    *,
    strict: bool,
) -> tuple[dict[int, Seen], dict[int, str]]:
    """Look into image files.

    Args:
        files: where they are.
        look: takes the place of a file and its content; what it raises says why that cannot be read.
        progress: called with the number of files done and of all.
        strict: what cannot be read for the moment is an error, as where images are left out for good.

    Returns:
        What was seen, by place, and for each file that cannot be read the reason.

    Raises:
        DataError: where it is strict, a file could not be read, or memory ended.
    """

    def one(index: int) -> tuple[Seen | None, str]:
        content = b""
        try:
            content = content_of(files[index])
            return look(index, content), ""
        except Exception as error:  # decoders raise whatever a damaged file makes them meet
            if strict:
                _raise_if_mendable(error, files[index])
            return None, _reason(error, content)

    seen: dict[int, Seen] = {}
    failures: dict[int, str] = {}
    n = len(files)
    batches = [range(start, min(start + AT_ONCE, n)) for start in range(0, n, AT_ONCE)]
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        # Pillow warns of damaged metadata as well, which leaves the picture whole.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for batch, results in zip(batches, pool.map(lambda batch: [*map(one, batch)], batches), strict=True):
            for index, (result, why) in zip(batch, results, strict=True):
                if result is None:
                    failures[index] = why
                else:
                    seen[index] = result
            if progress:
                progress(batch.stop, n)
    return seen, failures


def content_of(file: Path) -> bytes:
    """What a file holds, unless that is too much for an image.

    Raises:
        OSError: it cannot be read, or is too large.
    """
    if file.stat().st_size > MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return file.read_bytes()


def _raise_if_mendable(error: Exception, file: Path) -> None:
    """Images are left out for what is in their files, which is the same everywhere, not for a bad moment."""
    why = "no memory" if isinstance(error, MemoryError) else None
    if isinstance(error, OSError) and error.errno not in (None, errno.EFBIG):
        why = error.strerror
    if why:
        raise DataError(
            "Every image file must be readable",
            found=f"{file}: {why}",
            remedy="Make it readable, or take it away; then call the command again.",
        ) from None


def _reason(error: Exception, content: bytes) -> str:
    """Why a file cannot be decoded, in words."""
    if isinstance(error, UnidentifiedImageError):
        return _foreign(content) if content else "empty file"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too many pixels"
    if isinstance(error, OSError) and error.errno:
        return f"unreadable ({os.strerror(error.errno)})"
    return "truncated or damaged"


def _foreign(content: bytes) -> str:
    """What a file holds that is neither a JPEG nor a PNG; its header is read and no pixel."""
    try:
        with Image.open(BytesIO(content)) as image:
            return f"{image.format} under another name"
    except Exception:  # whatever a decoder raises, it is no image
        return "not an image inside"
