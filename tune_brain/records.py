"""Rows on disk and where they came from: the one source of truth of a run.

A row is one line of JSON, appended whole and flushed. A last line without its line feed was torn by a
crash: readers pass it over and the next append cuts it off. Everything else is written aside and renamed,
so that a half-written file is never read as a whole one.
"""

import contextlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar
from zipfile import BadZipFile

from pydantic import ValidationError

from tune_brain.config import Frozen
from tune_brain.errors import RunFolderError

State = Literal["running", "completed", "failed"]
Why = Literal["finished", "diverged", "raised", "memory", "timeout", "lost"]
Role = Literal["winner", "baseline"]

DAMAGED = (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error)
"""What NumPy raises of an .npz file that is missing, torn or not what it should be."""

CHECKPOINTS = "checkpoints"
"""In a run's folder, where trials are that go on after a loss."""
BASELINE = 0
"""The configuration number of the untuned baseline."""


class EpochRow(Frozen):
    """One epoch of one trial, as measured at its end."""

    trial: int
    """The trial's number, counted through the run."""
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
    """One trial: written when it starts and again when it ends; the last row of a number counts."""

    trial: int
    """Counted through the run, from 0."""
    arch: str
    configuration: int
    """The configuration's number in its study; 0 is the untuned baseline."""
    epochs: int
    """The rung: how many epochs the trial trains."""
    cycle: int | None = None
    """Epochs of the one-cycle that it is the beginning of; None: it is all of one."""
    values: dict[str, float]
    """The tuned hyperparameters, by name."""
    repeat: int = 0
    """Counts a configuration's trials beside the ladder, each with a seed of its own: in the final round, and
    of the baseline at the shortest length, where they measure the noise between seeds; 0 on the ladder."""
    seed: int
    state: State
    why: Why | None = None
    """Why it ended. While it runs None, or `memory`: it ran out of it and now has twice the room."""
    detail: str = ""
    """The divergence, the exception or the loss in words."""
    attempt: int = 1
    """How often it was started since it last came further, or first ran out of memory."""
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
    """One seed run: a winner or a baseline trained again at full length, scored on validation."""

    arch: str
    role: Role
    index: int
    """The seed's place, from 0."""
    seed: int
    values: dict[str, float]
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    seconds: float

    @property
    def name(self) -> str:
        """How its weights and predictions are called."""
        return seed_name(self.role, self.arch, self.index)


TEST_PARTS = ("official", "unseen")
"""The whole test, and those of its images that have no copy outside it."""


def seed_name(role: Role, arch: str, index: int) -> str:
    """How the weights and the predictions of a seed run are called."""
    return f"{role}-{arch}-{index}"


def arch_of(name: str) -> str:
    """The architecture of a seed run, from its name."""
    _, arch, _ = name.split("-")
    return arch


def seeds_of(names: Iterable[str], role: Role, arch: str) -> list[str]:
    """Of the names of seed runs those of one configuration, in the order of their seeds."""
    own = (name for name in names if name.startswith(f"{role}-{arch}-"))
    return sorted(own, key=lambda name: int(name.rpartition("-")[2]))


def named(members: Iterable[str], kind: str) -> list[str]:
    """Of the members `kind/name` of an .npz file, the names."""
    return [name.removeprefix(f"{kind}/") for name in members if name.startswith(f"{kind}/")]


Row = TypeVar("Row", bound=Frozen)


def append(path: Path, *rows: Frozen) -> None:
    """Add rows to a file, making it where it is missing; not its folder, which was moved away then.

    Raises:
        RunFolderError: it cannot be written, or its disk is full.
    """
    with writing(path.parent), path.open("ab+") as file:
        _cut_torn_line(file)
        file.write(b"".join(row.model_dump_json().encode() + b"\n" for row in rows))
        file.flush()


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what a disk says while a run's folder is written into an error with its remedy.

    Raises:
        RunFolderError: the folder cannot be written, or its disk is full.
    """
    try:
        yield
    except OSError as error:
        raise RunFolderError(
            "A run's folder must be writable",
            found=f"{folder}: {error.strerror}",
            remedy="What is finished is kept. When it is, call the command again; a search goes on with\n"
            "`tune-brain resume`.",
        ) from None


def try_writing(folder: Path) -> None:
    """See that a folder, there or not, can be written; nothing is left in it.

    Raises:
        OSError: it cannot.
    """
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    tempfile.TemporaryFile(dir=there).close()


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
        RunFolderError: a whole line is not a row of this kind.
    """
    return read_on(path, kind, 0)[0]


def read_on(path: Path, kind: type[Row], start: int) -> tuple[list[Row], int]:
    """The rows of a file from a place on, and the place after the last whole one, in bytes.

    Raises:
        RunFolderError: a whole line is not a row of this kind.
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
        # The parser counts lines within this one.
        problem = error.errors()[0]
        why = problem["msg"].partition(" at line 1 ")[0]
        raise RunFolderError(
            f"Each line of {path.name} must be one {kind.__name__}",
            found=f"{path}, line {number}: {why}",
            remedy="Another version of tune_brain has written it: record.json says which."
            if problem["type"] == "extra_forbidden"
            else "Remove the damaged line, or take the file from a backup.",
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
    return latest(read(folder / "trials.jsonl", TrialRow))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The file to write in place of `path`: whole and on disk it takes that name at the block's end.

    After an error nothing has changed.
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
    """Write a text file aside and rename it into place."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def as_json(value: Mapping[str, Any]) -> str:
    """Plain values as indented JSON; NaN and infinity are refused."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain values to a file of a run, see `as_json`, aside and renamed."""
    with writing(path.parent):
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
