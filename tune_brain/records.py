"""The files of a run: rows of epochs, trials and seed runs, which are its source of truth, and plain JSON.

A row is one line of JSON, appended in one write and flushed. A last line without a line feed was cut off by
a crash: readers skip it, and the next append removes it. Every other file is written under a temporary name
and renamed, so that a half-written file is never taken for a complete one.
"""

import contextlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, TypeVar
from zipfile import BadZipFile

from pydantic import ValidationError

from tune_brain.config import Frozen
from tune_brain.errors import RunFolderError, writing
from tune_brain.layout import TRIALS

State = Literal["running", "completed", "failed"]
Why = Literal["finished", "diverged", "raised", "memory", "timeout", "lost"]
Role = Literal["winner", "baseline"]

DAMAGED = (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error)
"""What NumPy raises for an .npz file that is missing, truncated or of another format."""

BASELINE = 0
"""The configuration number of the untuned baseline."""


class EpochRow(Frozen):
    """One epoch of one trial, as measured at its end."""

    trial: int
    """The trial's number, unique in the run."""
    arch: str
    epoch: int
    """From 1."""
    train_loss: float
    """Mean cross-entropy over the epoch's augmented batches, in nats."""
    train_accuracy: float
    train_macro_f1: float
    val_loss: float
    """Mean cross-entropy on validation, in nats."""
    val_accuracy: float
    val_macro_f1: float
    """The objective of the search."""
    lr: float
    """Learning rate of the epoch's last step."""
    grad_norm: float
    """Mean L2 norm of the gradient before clipping."""
    clipped_share: float
    """Share of the epoch's steps in which the gradient was clipped."""
    seconds: float
    """Wall-clock seconds of the epoch, validation included."""


class TrialRow(Frozen):
    """One trial: written when it starts and again when it ends; a trial's last row counts."""

    trial: int
    """The trial's number, unique in the run, from 0."""
    arch: str
    configuration: int
    """The configuration's number in its study; 0 is the untuned baseline."""
    epochs: int
    """The rung: how many epochs the trial trains."""
    cycle: int | None = None
    """Epochs of the one-cycle of which the trial is the beginning; None: it is a complete one-cycle."""
    values: dict[str, float]
    """The tuned hyperparameters, by name."""
    repeat: int = 0
    """Numbers a configuration's trials outside the ladder, each with its own seed: those of the final round,
    and the baseline's at the shortest length, which measure the noise between seeds. 0: on the ladder."""
    seed: int
    state: State
    why: Why | None = None
    """Why it ended. While it runs: None, or `memory` if it is retried after running out of memory."""
    detail: str = ""
    """The divergence, exception or worker loss in words."""
    attempt: int = 1
    """How often it was started since it last completed an epoch, or first ran out of memory."""
    score: float | None = None
    """Macro-F1 on validation after the last epoch; None unless completed."""
    started: float
    """Unix time, in seconds."""
    seconds: float = 0.0
    """Wall-clock seconds from its start to its end."""
    node: str = ""
    """Address of the machine that trained it."""
    worker: int = 0
    """Process id of the worker that trained it."""
    device: str = ""


class SeedRow(Frozen):
    """One seed run: a winner or a baseline retrained at full length, scored on validation."""

    arch: str
    role: Role
    index: int
    """Index of the seed, from 0."""
    seed: int
    values: dict[str, float]
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    seconds: float

    @property
    def name(self) -> str:
        """The name of its weights and predictions."""
        return seed_name(self.role, self.arch, self.index)


TEST_PARTS = ("official", "unseen")
"""The whole test, and those of its images that have no twin outside it."""


def seed_name(role: Role, arch: str, index: int) -> str:
    """The name of a seed run's weights and predictions."""
    return f"{role}-{arch}-{index}"


def arch_of(name: str) -> str:
    """The architecture of a seed run, parsed from its name."""
    _, arch, _ = name.split("-")
    return arch


def seeds_of(names: Iterable[str], role: Role, arch: str) -> list[str]:
    """Select the names of one architecture's winner or baseline, ordered by seed index."""
    matching = (name for name in names if name.startswith(f"{role}-{arch}-"))
    return sorted(matching, key=lambda name: int(name.rpartition("-")[2]))


def named(members: Iterable[str], kind: str) -> list[str]:
    """The names of those members of an .npz file that are called `kind/name`."""
    return [name.removeprefix(f"{kind}/") for name in members if name.startswith(f"{kind}/")]


Row = TypeVar("Row", bound=Frozen)


def append(path: Path, *rows: Frozen) -> None:
    """Append rows to a file, creating it if needed; its folder must exist (if not, the run was moved away).

    Raises:
        RunFolderError: the file cannot be written, or its disk is full.
    """
    with writing_run(path.parent), path.open("ab+") as file:
        _cut_torn_line(file)
        file.write(b"".join(row.model_dump_json().encode() + b"\n" for row in rows))
        file.flush()


def writing_run(folder: Path) -> AbstractContextManager[None]:
    """Report a failed write to a run's folder as a `RunFolderError` with a remedy; see `writing`."""
    return writing(
        folder,
        RunFolderError,
        "Finished work is kept. Once the folder is writable, repeat the command, or continue a search with\n"
        "`tune-brain resume`.",
    )


def try_writing(folder: Path) -> None:
    """Check that files can be written to a folder, which need not exist yet; leaves nothing behind.

    Raises:
        OSError: they cannot.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    tempfile.TemporaryFile(dir=existing).close()


def _cut_torn_line(file: Any) -> None:
    size = file.seek(0, os.SEEK_END)
    if not size:
        return
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


def read(path: Path, kind: type[Row]) -> list[Row]:
    """The rows of a file in the order in which they were written; a missing file has none.

    Raises:
        RunFolderError: a complete line is not a row of this kind.
    """
    return read_on(path, kind, 0)[0]


def read_on(path: Path, kind: type[Row], start: int) -> tuple[list[Row], int]:
    """The rows of a file from byte `start` on, and the offset of the byte after the last complete row.

    Raises:
        RunFolderError: a complete line is not a row of this kind.
    """
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        file.seek(start)
        *lines, torn = file.read().split(b"\n")
        end = file.tell() - len(torn)
    rows = list[Row]()
    try:
        for line in lines:
            rows.append(kind.model_validate_json(line))
    except ValidationError as error:
        number = path.read_bytes()[:start].count(b"\n") + len(rows) + 1
        problem = error.errors()[0]
        # The parser adds a position within this line.
        why = problem["msg"].partition(" at line 1 ")[0]
        raise RunFolderError(
            f"Each line of {path.name} must be one {kind.__name__}",
            found=f"{path}, line {number}: {why}",
            remedy="Another version of tune_brain wrote it; record.json names the version."
            if problem["type"] == "extra_forbidden"
            else "Remove the damaged line, or restore the file from a backup.",
        ) from None
    return rows, end


def latest(rows: Iterable[TrialRow]) -> list[TrialRow]:
    """The last row of each trial, by number."""
    last = {row.trial: row for row in rows}
    return [last[number] for number in sorted(last)]


def trials_of(folder: Path) -> list[TrialRow]:
    """The last row of each trial of a run, by number.

    Raises:
        RunFolderError: a row is damaged.
    """
    return latest(read(folder / TRIALS, TrialRow))


def by_arch(rows: Iterable[TrialRow], archs: Iterable[str]) -> dict[str, list[TrialRow]]:
    """The rows of each of these architectures, in their order."""
    rows = list(rows)
    return {arch: [row for row in rows if row.arch == arch] for arch in archs}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends, it is flushed to disk and renamed to `path`.

    If the block raises, `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file through `replacing`."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def as_json(value: Mapping[str, Any]) -> str:
    """Plain values as indented JSON; NaN and infinity raise ValueError."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain values to a JSON file of a run, through `replacing`."""
    with writing_run(path.parent):
        write_text(path, as_json(value))


def read_json(path: Path) -> dict[str, Any]:
    """The plain values of a JSON file.

    Raises:
        RunFolderError: the file is missing or not JSON.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(f"A run needs a readable {path.name}", found=f"{path}: {error}") from None
    return value
