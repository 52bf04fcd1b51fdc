"""`sources.csv` of a combined folder: what became of each image of each source."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tune_brain.errors import DataError

SOURCES = "sources.csv"
"""Lies in the root of a combined folder."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one image."""

    file: str
    """Path in the new folder; empty if it was left out."""
    part: str
    label: str
    """Class in the new folder."""
    source: str
    """Name of the source folder."""
    original: str
    """Path in the source folder."""
    group: int
    """Group number; twins share a group across all sources. -1 if the image cannot be read."""
    left_out: str = ""
    """Why it is not in the new folder."""
    twin_in_test: str = ""
    """`yes` if it was admitted to training or validation despite a twin in a test part."""


COLUMNS = [field.name for field in fields(Row)]


def sources_file(root: Path) -> Path | None:
    """The `sources.csv` that `combine` wrote to a folder, if any; one with another header is ignored.

    Raises:
        DataError: the file cannot be read.
    """
    path = root / SOURCES
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            header = file.readline(1000)
    except OSError as error:
        raise DataError(f"Cannot read {SOURCES}", found=f"{path}: {error.strerror}") from None
    return path if header.rstrip(b"\r\n") == ",".join(COLUMNS).encode() else None


def provenance(root: Path) -> dict[str, Any]:
    """Summarise a combined folder's `sources.csv` for the record of a run; empty for other folders.

    Returns:
        `sources`: number of images by source folder; `allowed_leak`: number of images that were admitted to
        training or validation despite a twin in the test part.

    Raises:
        DataError: the file is damaged.
    """
    path = sources_file(root)
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (csv.Error, OSError) as error:
        raise _damaged(path, repr(error)) from None
    if short := next((line for line, row in enumerate(rows, start=2) if None in row.values()), None):
        raise _damaged(path, f"row {short} lacks fields")
    present = [row for row in rows if row["file"]]
    sources = Counter(row["source"] for row in present)
    return {"sources": dict(sources), "allowed_leak": sum(row["twin_in_test"] == "yes" for row in present)}


def write_sources(root: Path, rows: Sequence[Row]) -> None:
    """Write `sources.csv` to a combined folder."""
    with (root / SOURCES).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(map(asdict, rows))


def _damaged(path: Path, found: str) -> DataError:
    return DataError(
        f"{SOURCES} is damaged or was changed since `tune-brain combine` wrote it", found=f"{path}: {found}"
    )
