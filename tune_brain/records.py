"""The rows of epochs, trials and seed runs: a run's source of truth.

A row is one line of JSON, appended in one write and flushed. A last line without a line feed was cut off by
a crash: readers skip it, and the next append removes it.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from tune_brain.config import Frozen
from tune_brain.errors import RunFolderError
from tune_brain.files import writing_run
from tune_brain.layout import TRIALS

State = Literal["running", "completed", "failed"]
Why = Literal["finished", "diverged", "raised", "memory", "timeout", "lost"]
Role = Literal["winner", "baseline"]

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
