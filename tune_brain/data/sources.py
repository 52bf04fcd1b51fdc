"""`sources.csv`: what became of each image of the folders that were combined, and how it is read again."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tune_brain.errors import DataError

MANIFEST = "sources.csv"
"""Beside the parts of a combined folder."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one image."""

    file: str
    """Path in the new folder; empty where it was left out."""
    part: str
    label: str
    """Class in the new folder."""
    source: str
    """Name of the folder that it comes from."""
    original: str
    """Path in that folder."""
    group: int
    """Twins share theirs, across all sources."""
    left_out: str = ""
    """Why it is not in the new folder."""
    twin_in_test: str = ""
    """`yes` where it was let into training or validation although a twin stands in a test part."""


COLUMNS = [field.name for field in fields(Row)]


def manifest(root: Path) -> Path | None:
    """The file that `combine` has left in a folder; one of that name with another head is not ours.

    Raises:
        DataError: it cannot be read.
    """
    path = root / MANIFEST
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            head = file.readline(1000)
    except OSError as error:
        raise DataError(f"{MANIFEST} must be readable", found=f"{path}: {error.strerror}") from None
    return path if head.rstrip(b"\r\n") == ",".join(COLUMNS).encode() else None


def provenance(root: Path) -> dict[str, Any]:
    """What a combined folder's `sources.csv` says, for the record of a run; empty for other folders.

    Returns:
        `sources`: images by the folder they come from; `allowed_leak`: images of training and validation that
        were let in although a twin stands in the test part.

    Raises:
        DataError: the file is damaged.
    """
    path = manifest(root)
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (csv.Error, OSError) as error:
        raise _damaged(path, repr(error)) from None
    if short := next((line for line, row in enumerate(rows, start=2) if None in row.values()), None):
        raise _damaged(path, f"too little in row {short}")
    kept = [row for row in rows if row["file"]]
    sources = Counter(row["source"] for row in kept)
    return {"sources": dict(sources), "allowed_leak": sum(row["twin_in_test"] == "yes" for row in kept)}


def write(root: Path, rows: Sequence[Row]) -> None:
    """Leave `sources.csv` in a combined folder."""
    with (root / MANIFEST).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(map(asdict, rows))


def _damaged(path: Path, found: str) -> DataError:
    return DataError(f"{MANIFEST} must be as `tune-brain combine` wrote it", found=f"{path}: {found}")
