"""Show what a run is doing, by its folder alone, and cancel it."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

from rich.console import Console

from tune_brain import lock, runs
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.seed_runs import evaluating
from tune_brain.layout import EPOCHS, RUN, SCORES, SEED_RUNS
from tune_brain.records import EpochRow, SeedRow, TrialRow, read
from tune_brain.search.convergence import convergence
from tune_brain.search.display import is_running, name, studies_table
from tune_brain.search.ledger import Ledger
from tune_brain.search.state import next_command, state_of
from tune_brain.stages.listing import print_list, runs_in
from tune_brain.text import counted, duration, quoted

WAIT = 60.0
"""Seconds that a cancelled run has to end."""


def status(folder: Path) -> None:
    """Print what runs where, what is done, promoted and left, what failed and why, and the next command.

    Of a folder that is no run but holds runs, print a list of them. Reads only, so it may be called at any
    time.
    """
    if not (folder / RUN).exists() and (inside := runs_in(folder)):
        print_list(inside)
        return
    run = runs.open_run(folder)
    console = Console(highlight=False)
    ledger, writer, record = Ledger(folder), lock.holder(folder), runs.read_record(folder)
    if writer:
        since = duration(time.time() - writer.since)
        console.print(f"{folder}: running for {since}, process {writer.pid} on {writer.host}", markup=False)
    else:
        console.print(f"{folder}: not running", markup=False)
    slots = record.get("slots", 1)
    began = writer.since if writer else None
    table = studies_table(run.config, ledger, slots, since=began)
    rows = list(ledger.trials.values())
    state = state_of(run.config, rows, writer.command if writer else None)
    if state in ("failed", "searched", "evaluated"):
        table.caption = None  # no time is left
    if state == "evaluating" and runs.has_winners(run.config):
        table.caption = evaluating(run, runs.read_winners(run), read(folder / SEED_RUNS, SeedRow))
    console.print(table)
    for arch in run.config.arch if run.config.until_converged else ():
        if study := convergence(ledger.study(arch).rows, run.config.ladder[0]):
            console.print(f"{arch}: {study.reason}", markup=False, soft_wrap=True)
    done = {row.trial: row.epoch for row in read(folder / EPOCHS, EpochRow)}
    for row in rows:
        if row.state == "running":
            console.print(_running(row, done.get(row.trial, 0), alive=is_running(row, began)), markup=False)
    for row in rows:
        if row.state == "failed":
            length = counted(row.epochs, "epoch", "epochs")
            line = f"failed: {row.arch} {name(row)} at {length}: {row.why}: {row.detail}"
            console.print(line, markup=False, soft_wrap=True)
    if state == "evaluated":
        console.print(f"It is evaluated: {folder / SCORES}", markup=False, soft_wrap=True)
    counts = record.get("data", {}).get("counts", {}).get("validation", {})
    console.print(next_command(run.config, rows, state, counts), markup=False, soft_wrap=True)


def cancel(folder: Path) -> bool:
    """End the command that writes to a run, as Ctrl-C does; returns whether there was one.

    Raises:
        RunFolderError: it runs on another machine, in a container or as another user, or does not end.
    """
    runs.open_run(folder)
    writer = lock.holder(folder)
    if writer is None:
        return False
    if writer.host != socket.gethostname():
        raise RunFolderError(
            "This run is written to from another machine and can only be cancelled there",
            found=f"process {writer.pid} on {writer.host} writes to {folder}",
            remedy=f"On that machine: tune-brain cancel {quoted(folder)}",
        )
    _terminate(writer.pid, folder)
    deadline = time.monotonic() + WAIT
    while lock.holder(folder) is not None:
        if time.monotonic() > deadline:
            raise RunFolderError(
                "The cancelled run did not end within a minute",
                found=f"process {writer.pid} still runs",
                remedy=f"kill -9 {writer.pid}; finished work is kept.",
            )
        time.sleep(0.2)
    return True


def _terminate(pid: int, folder: Path) -> None:
    try:
        if not _has_open(pid, folder / lock.FILE):
            raise ProcessLookupError
        # Not SIGINT, which shells make background commands ignore.
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise RunFolderError(
            "Another user, or a command in a container, writes to this run and alone can cancel it",
            found=f"no permission to signal process {pid}",
            remedy=f"As that user, or in that container: tune-brain cancel {quoted(folder)}",
        ) from None
    except (ProcessLookupError, FileNotFoundError):
        if lock.holder(folder) is None:
            return
        raise RunFolderError(
            "The process that writes to this run cannot be seen from here",
            found=f"process {pid} still holds the lock of {folder}, but here no such process has it open",
            remedy=f"In the container that started it: tune-brain cancel {quoted(folder)}",
        ) from None


def _has_open(pid: int, file: Path) -> bool:
    """Whether a process has a file open. Processes of a container have other numbers outside of it.

    Raises:
        FileNotFoundError: there is no such process.
        PermissionError: it belongs to another user.
    """
    for opened in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # just closed, or not a file
            if opened.samefile(file):
                return True
    return False


def _running(row: TrialRow, epochs: int, *, alive: bool) -> str:
    where = f" on {row.node}, worker {row.worker}" if row.node else ""
    elapsed = f", for {duration(time.time() - row.started)}" if alive else ""
    state = "running" if alive else "interrupted"
    done = f"{epochs} of {counted(row.epochs, 'epoch', 'epochs')}"
    return f"{state}: {row.arch} {name(row)}, {done}{where}{elapsed}"
