"""Decode every image once, and cache the results on disk.

A decoded image is grey pixels of one size, plus a thumbnail and a digest for finding duplicates. Each
prepared data set has a folder in `$TUNE_BRAIN_CACHE` (default `~/.cache/tune_brain`), written aside and then
renamed.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.array_types import Bytes
from tune_brain.data.catalogue import Catalogue
from tune_brain.data.decoding import Advance, each_file
from tune_brain.data.patients import patients_file
from tune_brain.data.sources import sources_file
from tune_brain.errors import DataError
from tune_brain.files import MAKING, write_text, writing
from tune_brain.portable.pictures import THUMBNAIL, needed, open_grey, square, squashed

MANIFEST = "manifest.json"
DAY = 24 * 3600
"""Age in seconds from which a temporary folder counts as left behind by a killed process."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The N images that could be decoded, in the order of their files."""

    pixels: Bytes
    """[N, 1, S, S], grey."""
    thumbnails: Bytes
    """[N, 32, 32], the whole image resized to a square, so that images of any shape can be compared."""
    digests: tuple[str, ...]
    """SHA-256 of each image's file."""


def decode(
    files: Sequence[Path], image_size: int, advance: Advance | None = None
) -> tuple[Decoded, dict[int, str]]:
    """Decode images in parallel threads.

    Args:
        files: JPEG and PNG files.
        image_size: S, in pixels.
        advance: reports progress.

    Returns:
        The decoded images, and the reason for each file that could not be decoded, by its index in `files`.

    Raises:
        DataError: a file could not be read, or memory ran out. Skipping it would silently change the data
            set.
    """
    pixels = np.empty((len(files), 1, image_size, image_size), np.uint8)
    thumbnails = np.empty((len(files), THUMBNAIL, THUMBNAIL), np.uint8)

    def decode_one(index: int, content: bytes) -> str:
        picture = open_grey(content, needed(image_size))
        pixels[index, 0] = square(picture, image_size)
        thumbnails[index] = squashed(picture, THUMBNAIL)
        return hashlib.sha256(content).hexdigest()

    digests, failures = each_file(files, decode_one, advance, strict=True)
    if failures:
        pixels, thumbnails = pixels[list(digests)], thumbnails[list(digests)]
    return Decoded(pixels=pixels, thumbnails=thumbnails, digests=tuple(digests.values())), failures


def cache_root() -> Path:
    """The cache folder, which may not exist yet."""
    return Path(os.environ.get("TUNE_BRAIN_CACHE") or "~/.cache/tune_brain").expanduser()


def cache_key(catalogue: Catalogue, purpose: str) -> str:
    """A name in the cache that changes with any file's name, size or modification time, and with the purpose.

    Args:
        catalogue: the images of a folder.
        purpose: what is cached, with all parameters and versions that the result depends on.
    """
    digest = hashlib.sha256(purpose.encode())
    for image in catalogue.images:
        state = (catalogue.root / image.name).stat()
        digest.update(os.fsencode(f"\n{image.name}\0{state.st_size} {state.st_mtime_ns}"))
    for entry in catalogue.left_out:
        digest.update(os.fsencode(f"\n{entry.name}\0{entry.reason}"))
    for table in (sources_file(catalogue.root), patients_file(catalogue.root)):
        if table:
            digest.update(table.read_bytes())
    return digest.hexdigest()[:32]


def is_whole(folder: Path) -> bool:
    """Whether every file in the folder's manifest exists and has its full length."""
    try:
        lengths = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == length for name, length in lengths.items())
    except (OSError, ValueError):
        return False


def store(folder: Path, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> None:
    """Write a cache folder completely or not at all; if another process wrote it meanwhile, theirs is kept.

    Temporary folders that killed processes left in the cache are removed once they are older than a day.

    Args:
        folder: where to write; a damaged folder there is replaced.
        arrays: arrays by path below the folder, written as `<name>.npy`.
        values: plain values by path below the folder, written as `<name>.json`.

    Raises:
        DataError: the cache cannot be written.
    """
    remedy = "Free some disk space, or name another folder in TUNE_BRAIN_CACHE."
    with writing(folder.parent, DataError, remedy):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=MAKING) as aside:
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


def _remove_leftovers(root: Path) -> None:
    for leftover in root.glob(f"{MAKING}*"):
        # Another process may remove it at the same time.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > DAY:
                shutil.rmtree(leftover, ignore_errors=True)


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
