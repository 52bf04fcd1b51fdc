"""What a run is doing, from its folder alone, and the end of it."""

import os
import signal
import socket
import time
from pathlib import Path

from rich.console import Console

from tune_brain import lock, runs
from tune_brain.errors import RunFolderError
from tune_brain.records import EpochRow, TrialRow, read, trials_of
from tune_brain.runs import Run
from tune_brain.search.convergence import convergence
from tune_brain.search.display import name, studies_table
from tune_brain.search.ladder import came_to_nothing
from tune_brain.search.ledger import Ledger
from tune_brain.stages.preconditions import unfinished, was_cut_short
from tune_brain.text import duration, quoted

WAIT = 60.0
"""Seconds that a cancelled run is given to end."""


def status(folder: Path) -> None:
    """Print what runs where, what is done, promoted and left, what failed and why, and what comes next.

    Only reads, while the run is under way or after.
    """
    run = runs.open_run(folder)
    console = Console(highlight=False)
    ledger, writer = Ledger(folder), lock.holder(folder)
    if writer:
        since = duration(time.time() - writer.since)
        console.print(f"{folder}: running for {since}, process {writer.pid} on {writer.host}", markup=False)
    else:
        console.print(f"{folder}: not running", markup=False)
    slots = runs.read_record(folder).get("slots", 1)
    console.print(studies_table(run.config, ledger, slots, alive=writer is not None))
    for arch in run.config.arch if run.config.until_converged else ():
        if found := convergence(ledger.study(arch).rows, run.config.ladder[0]):
            console.print(f"{arch}: {found.reason}", markup=False, soft_wrap=True)
    done = {row.trial: row.epoch for row in read(folder / "epochs.jsonl", EpochRow)}
    for row in ledger.trials.values():
        if row.state == "running":
            console.print(_running(row, done.get(row.trial, 0), alive=writer is not None), markup=False)
    for row in ledger.trials.values():
        if row.state == "failed":
            told = f"failed: {row.arch} {name(row)} at {row.epochs} epochs: {row.why}: {row.detail}"
            console.print(told, markup=False, soft_wrap=True)
    console.print(_next(run, running=writer is not None), markup=False, soft_wrap=True)


def cancel(folder: Path) -> bool:
    """End the command that writes to a run, as Ctrl-C does; whether there was one.

    Raises:
        RunFolderError: it runs on another machine, in a container or as another user, or does not end.
    """
    runs.open_run(folder)
    writer = lock.holder(folder)
    if writer is None:
        return False
    if writer.host != socket.gethostname():
        raise RunFolderError(
            "A run is cancelled on the machine of its driver",
            found=f"{folder} is in the hands of process {writer.pid} on {writer.host}",
            remedy=f"There: tune-brain cancel {quoted(folder)}",
        )
    _tell(writer.pid, folder)
    end = time.monotonic() + WAIT
    while lock.holder(folder) is not None:
        if time.monotonic() > end:
            raise RunFolderError(
                "A cancelled run ends within a minute",
                found=f"process {writer.pid} still runs",
                remedy=f"kill -9 {writer.pid}; what is finished is kept.",
            )
        time.sleep(0.2)
    return True


def _tell(pid: int, folder: Path) -> None:
    try:
        # A shell lets what it starts in the background ignore SIGINT.
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise RunFolderError(
            "A run is cancelled by the user who started it",
            found=f"process {pid} is another's",
            remedy=f"As that user: tune-brain cancel {quoted(folder)}",
        ) from None
    except ProcessLookupError:
        if lock.holder(folder) is None:
            return
        raise RunFolderError(
            "A run is cancelled where its driver can be seen",
            found=f"no process {pid} here, and {folder} is still in its hands",
            remedy=f"In the container that started it: tune-brain cancel {quoted(folder)}",
        ) from None


def _running(row: TrialRow, epochs: int, *, alive: bool) -> str:
    where = f" on {row.node}, worker {row.worker}" if row.node else ""
    for_ = f", for {duration(time.time() - row.started)}" if alive else ""
    word = "running" if alive else "interrupted"
    return f"{word}: {row.arch} {name(row)}, {epochs} of {row.epochs} epochs{where}{for_}"


def _next(run: Run, *, running: bool) -> str:
    folder, named = run.folder, quoted(run.folder)
    if running:
        return f"End it with: tune-brain cancel {named}"
    if (folder / "scores.json").exists():
        return f"It has its scores: {folder / 'scores.json'}"
    if nothing := came_to_nothing(trials_of(folder), run.config):
        return nothing
    winners = any(runs.winner_file(folder, arch).is_file() for arch in run.config.arch)
    if not winners or was_cut_short(run):
        return f"Go on with: tune-brain resume {named}"
    if (folder / "seed_runs.jsonl").exists():
        return f"Next: tune-brain evaluate {named}"
    if unfinished(run):
        return f"Its time was up. Next: tune-brain evaluate {named}, or tune-brain resume {named}"
    return f"Next: tune-brain evaluate {named}, or tune-brain extend {named} --configs N"
