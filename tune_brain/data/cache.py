"""Decode every image once, and keep what was made of it on disk.

A decoded image is grey pixels of one size, with a thumbnail and a digest to compare it by. What is made of a
data set is kept in `$TUNE_BRAIN_CACHE` (or `~/.cache/tune_brain`), in a folder written aside and renamed.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.data.decoding import each_file
from tune_brain.errors import DataError
from tune_brain.portable.pictures import THUMBNAIL, needed, open_grey, square, squashed
from tune_brain.records import write_text

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Images in the order of their files, less those that could not be decoded."""

    pixels: NDArray[np.uint8]
    """[N, 1, S, S], grey."""
    thumbnails: NDArray[np.uint8]
    """[N, 32, 32], the whole image squashed, so that images of any shape can be compared."""
    digests: tuple[str, ...]
    """SHA-256 of each image's file."""


def decode(
    files: Sequence[Path], image_size: int, progress: Callable[[int, int], None] | None = None
) -> tuple[Decoded, dict[int, str]]:
    """Decode images in threads.

    Args:
        files: JPEG and PNG files.
        image_size: S, in pixels.
        progress: called with the number of files done and of all.

    Returns:
        The decoded images, and for each file that could not be decoded its place in `files` and the reason.

    Raises:
        DataError: a file could not be read, or memory ended: without it there would be another data set.
    """
    pixels = np.empty((len(files), 1, image_size, image_size), np.uint8)
    thumbnails = np.empty((len(files), THUMBNAIL, THUMBNAIL), np.uint8)

    def one(index: int, content: bytes) -> str:
        picture = open_grey(content, needed(image_size))
        pixels[index, 0] = square(picture, image_size)
        thumbnails[index] = squashed(picture, THUMBNAIL)
        return hashlib.sha256(content).hexdigest()

    seen, failures = each_file(files, one, progress, strict=True)
    if failures:
        pixels, thumbnails = pixels[list(seen)], thumbnails[list(seen)]
    return Decoded(pixels=pixels, thumbnails=thumbnails, digests=tuple(seen.values())), failures


def cache_root() -> Path:
    """The folder in which prepared data sets are kept, there or not."""
    return Path(os.environ.get("TUNE_BRAIN_CACHE") or "~/.cache/tune_brain").expanduser()


def is_whole(folder: Path) -> bool:
    """Whether every file that the folder's manifest names is there in its full length."""
    try:
        lengths = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == length for name, length in lengths.items())
    except (OSError, ValueError):
        return False


def store(folder: Path, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
    """Write a folder whole or not at all; where another process has written it meanwhile, theirs stays.

    Args:
        folder: where it shall stand; a damaged one is replaced.
        arrays: what to write as `<name>.npy`.
        values: what to write as `<name>.json`.

    Raises:
        DataError: the cache cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as aside:
            made = Path(aside) / folder.name
            _fill(made, arrays, values)
            if folder.exists() and not is_whole(folder):
                with contextlib.suppress(FileNotFoundError):
                    folder.rename(Path(aside) / "damaged")
            try:
                made.rename(folder)
            except OSError:
                if not is_whole(folder):
                    raise
    except OSError as error:
        raise DataError(
            "The cache must be writable",
            found=f"{folder.parent}: {error.strerror}",
            remedy="Make room, or name another folder in TUNE_BRAIN_CACHE.",
        ) from None


def _fill(folder: Path, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            np.save(file, array)
            file.flush()
            os.fsync(file.fileno())
    for name, value in values.items():
        write_text(folder / f"{name}.json", json.dumps(value, indent=1, allow_nan=False) + "\n")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    lengths = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    write_text(folder / MANIFEST, json.dumps(lengths, indent=1) + "\n")
