"""What stands in a run's folder, as far as the run has come, read again only where it has grown."""

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from tune_brain import lock, records
from tune_brain.config import RunConfig
from tune_brain.records import EpochRow, Row, TrialRow
from tune_brain.runs import open_run, winner_file
from tune_brain.space import Space

Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A run's files, read; those that a later stage has yet to write are empty."""

    folder: Path
    config: RunConfig
    spaces: Mapping[str, Space]
    record: dict[str, Any]
    rows: list[TrialRow]
    """Every row of the trials: one for each start and each end."""
    epochs: list[EpochRow]
    scores: dict[str, Any]
    comparisons: dict[str, Any]
    sealed: dict[str, Any]
    winners: dict[str, str]
    """The text of each winner's file, by architecture."""
    running: bool
    """Whether a command writes to the run now."""

    @cached_property
    def trials(self) -> list[TrialRow]:
        """The last row of each trial."""
        return records.latest(self.rows)

    @property
    def predictions(self) -> Path | None:
        """Where it stands what each seed run said of each test image, if it is here."""
        path = self.folder / "predictions.npz"
        return path if path.exists() else None


def read_contents(folder: Path) -> Contents:
    """Read a run's folder.

    Raises:
        RunFolderError: there is no run in it, or a file is damaged.
        ConfigError: its run.toml or a space file is damaged.
    """
    return Reader(folder).read()


_PLAIN = {name: f"{name}.json" for name in ("record", "scores", "comparisons", "sealed")}


class VersionedCache:
    """What was made last, by what it was made of."""

    def __init__(self) -> None:
        """Nothing was."""
        self._kept: dict[Hashable, tuple[Any, Any]] = {}

    def keep(self, key: Hashable, version: Any, make: Callable[[], Kind]) -> Kind:
        """What was made for this key of the same version, or is now."""
        if key not in self._kept or self._kept[key][0] != version:
            self._kept[key] = (version, make())
        made: Kind = self._kept[key][1]
        return made


class Reader:
    """Reads a run's folder as often as asked, and of files of rows only what was added."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self.folder = folder
        self._trials = _Rows(folder / "trials.jsonl", TrialRow)
        self._epochs = _Rows(folder / "epochs.jsonl", EpochRow)
        self._memory = VersionedCache()

    def read(self) -> Contents:
        """What stands in the folder now.

        Raises:
            RunFolderError: there is no run in it, or a file is damaged.
            ConfigError: its run.toml or a space file is damaged.
        """
        folder = self.folder
        run = self._changed(folder / "run.toml", lambda _: open_run(folder), None) or open_run(folder)
        winners = {
            arch: self._changed(winner_file(folder, arch), lambda path: path.read_text(encoding="utf-8"), "")
            for arch in run.config.arch
        }
        plain: dict[str, dict[str, Any]] = {
            name: self._changed(folder / file, records.read_json, {}) for name, file in _PLAIN.items()
        }
        return Contents(
            folder=folder,
            config=run.config,
            spaces=run.spaces,
            rows=self._trials.read(),
            epochs=self._epochs.read(),
            winners={arch: text for arch, text in winners.items() if text},
            running=lock.holder(folder) is not None,
            **plain,
        )

    def stamps(self) -> dict[str, str]:
        """What changes when rows were added (`trials`, `epochs`), another file was, or a writer came."""
        names = ["run.toml", *_PLAIN.values(), "predictions.npz", "winners", "spaces"]
        return {
            "trials": _told(_stamp(self._trials.path)),
            "epochs": _told(_stamp(self._epochs.path)),
            "files": _digest("".join(_told(_stamp(self.folder / name)) for name in names)),
            "running": str(lock.holder(self.folder) is not None),
        }

    def _changed(self, path: Path, read: Callable[[Path], Kind], absent: Kind) -> Kind:
        """A file's value, read where its stamp is not that of the last time."""
        found = _stamp(path)
        return absent if found is None else self._memory.keep(path, found, lambda: read(path))


class _Rows(Generic[Row]):
    """The rows of one file, which is only ever appended to; a last line that a crash tore is not whole."""

    def __init__(self, path: Path, kind: type[Row]) -> None:
        self.path, self._kind = path, kind
        self._file: int | None = None
        self._rows: list[Row] = []
        self._end = 0

    def read(self) -> list[Row]:
        """All of them; the same list as the last time where none was added."""
        found = self.path.stat() if self.path.exists() else None
        if found is None or found.st_ino != self._file or found.st_size < self._end:
            self._file, self._rows, self._end = found.st_ino if found else None, [], 0
        new, self._end = records.read_on(self.path, self._kind, self._end)
        self._rows = self._rows + new if new else self._rows
        return self._rows


def _told(found: tuple[int, int, int] | None) -> str:
    return ".".join(map(str, found or ()))


def _digest(text: str) -> str:
    """A short name of a text, for those who ask whether it has changed."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes when a file is written or replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
