"""Reads a run's folder, finished or not, and on later reads only what has changed."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from tune_brain import lock, records
from tune_brain.config import RunConfig
from tune_brain.evaluate.predictions import PREDICTIONS
from tune_brain.files import read_json
from tune_brain.layout import COMPARISONS, EPOCHS, RECORD, RUN, SCORES, SEAL, SEED_RUNS, TRIALS
from tune_brain.records import EpochRow, Row, SeedRow, TrialRow
from tune_brain.runs import Winner, open_run, read_winner, winner_file
from tune_brain.search.chance import no_better_than_constant
from tune_brain.space import Space

Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The content of a run's files; files that a later stage has yet to write are empty."""

    folder: Path
    config: RunConfig
    spaces: Mapping[str, Space]
    record: dict[str, Any]
    rows: list[TrialRow]
    """All rows of trials.jsonl: several per trial, at each start and end and when its machine is known."""
    epochs: list[EpochRow]
    seed_runs: list[SeedRow]
    scores: dict[str, Any]
    comparisons: dict[str, Any]
    sealed: dict[str, Any]
    winners: dict[str, Winner]
    """By architecture, in the run's order."""
    writer: lock.Holder | None
    """The process that is writing to the run; None if there is none."""

    @cached_property
    def trials(self) -> list[TrialRow]:
        """The latest row of each trial."""
        return records.latest(self.rows)

    @property
    def validation(self) -> dict[str, int]:
        """Number of validation images by class; empty if record.json does not say."""
        counts: dict[str, int] = self.record.get("data", {}).get("counts", {}).get("validation", {})
        return counts

    @cached_property
    def untaught(self) -> list[str]:
        """The architectures whose search has found nothing better than a constant prediction."""
        return no_better_than_constant(self.trials, self.config, self.validation)

    @property
    def tested(self) -> dict[str, Any]:
        """`scores` without those of an ensemble of a single network, which is the winner again."""
        return self._without_copy(self.scores)

    @property
    def verdicts(self) -> dict[str, str]:
        """A sentence on each winner and on the ensemble."""
        return self._without_copy(self.comparisons.get("verdicts", {}))

    def _without_copy(self, by_name: dict[str, Any]) -> dict[str, Any]:
        alone = len(self.config.arch) * self.config.seeds == 1
        return {name: value for name, value in by_name.items() if name in self.config.arch or not alone}

    @property
    def predictions(self) -> Path | None:
        """The file with the seed runs' predictions for the test; None if it is missing."""
        path = self.folder / PREDICTIONS
        return path if path.exists() else None


def read_contents(folder: Path) -> Contents:
    """Read a run's folder.

    Raises:
        RunFolderError: the folder contains no run, or a file is damaged.
        ConfigError: its run.toml, a space file or a winner's file is damaged.
    """
    return Reader(folder).read()


_PLAIN = {"record": RECORD, "scores": SCORES, "comparisons": COMPARISONS, "sealed": SEAL}


class VersionedCache:
    """A cache: per key, the last value and the version it was made from."""

    def __init__(self) -> None:
        """Start empty."""
        self._entries: dict[Hashable, tuple[Any, Any]] = {}

    def get(self, key: Hashable, version: Any, make: Callable[[], Kind]) -> Kind:
        """The cached value of a key, made anew if its version differs.

        Args:
            key: name of the value.
            version: anything comparable that differs when the value would.
            make: computes the value.
        """
        # Threads share the cache: another one may replace the entry at any moment.
        entry = self._entries.get(key)
        if entry is None or entry[0] != version:
            entry = self._entries[key] = (version, make())
        value: Kind = entry[1]
        return value


class Reader:
    """Reads a run's folder repeatedly; of the files of rows, only what has been appended."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read before the first `read`."""
        self.folder = folder
        self._trials = _Rows(folder / TRIALS, TrialRow)
        self._epochs = _Rows(folder / EPOCHS, EpochRow)
        self._seed_runs = _Rows(folder / SEED_RUNS, SeedRow)
        self._files = VersionedCache()

    def read(self) -> Contents:
        """The current content of the folder.

        Raises:
            RunFolderError: the folder contains no run, or a file is damaged.
            ConfigError: its run.toml, a space file or a winner's file is damaged.
        """
        folder = self.folder
        run = self._cached(folder / RUN, lambda _: open_run(folder), None) or open_run(folder)
        winners = {
            arch: self._cached(winner_file(folder, arch), read_winner, None) for arch in run.config.arch
        }
        plain: dict[str, dict[str, Any]] = {
            name: self._cached(folder / file, read_json, {}) for name, file in _PLAIN.items()
        }
        return Contents(
            folder=folder,
            config=run.config,
            spaces=run.spaces,
            rows=self._trials.read(),
            epochs=self._epochs.read(),
            seed_runs=self._seed_runs.read(),
            winners={arch: winner for arch, winner in winners.items() if winner},
            writer=self.writer(),
            **plain,
        )

    def stamps(self) -> dict[str, str]:
        """Cheap fingerprints that change with the inputs of the views.

        `trials` and `epochs` change with their rows, `files` with any other file, `running` when a command
        starts or stops writing to the run, or another takes its place.
        """
        writer = self.writer()
        names = [RUN, *_PLAIN.values(), SEED_RUNS, PREDICTIONS, "winners", "spaces", "weights"]
        return {
            "trials": _joined(_stamp(self._trials.path)),
            "epochs": _joined(_stamp(self._epochs.path)),
            "files": str(hash(tuple(_stamp(self.folder / name) for name in names))),
            "running": f"{writer.since} {writer.command}" if writer else "",
        }

    def writer(self) -> lock.Holder | None:
        """The process that is writing to the run; None if there is none."""
        return lock.holder(self.folder)

    def _cached(self, path: Path, read: Callable[[Path], Kind], absent: Kind) -> Kind:
        """The value of a file, read again if the file has changed; `absent` if it is missing."""
        stamp = _stamp(path)
        return absent if stamp is None else self._files.get(path, stamp, lambda: read(path))


class _Rows(Generic[Row]):
    """The rows of one append-only file; a last line torn by a crash is ignored until it is complete."""

    def __init__(self, path: Path, kind: type[Row]) -> None:
        self.path, self._kind = path, kind
        self._file: int | None = None
        self._rows: list[Row] = []
        self._end = 0

    def read(self) -> list[Row]:
        """All rows; the same list object as last time if none were added."""
        status = self.path.stat() if self.path.exists() else None
        if status is None or status.st_ino != self._file or status.st_size < self._end:
            self._file, self._rows, self._end = status.st_ino if status else None, [], 0
        new, self._end = records.read_on(self.path, self._kind, self._end)
        self._rows = self._rows + new if new else self._rows
        return self._rows


def _joined(stamp: tuple[int, int, int] | None) -> str:
    return ".".join(map(str, stamp or ()))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Inode, size and modification time, which change when a file is written or replaced; None if missing."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
