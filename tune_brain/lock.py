"""A lock that lets one command at a time write to a run, and that a crash releases."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tune_brain.errors import RunFolderError
from tune_brain.files import writing
from tune_brain.text import quoted

FILE = ".lock"
EVALUATE = "evaluate"
"""The command that trains seed runs and scores them; all others that write to a run search."""
UNWRITABLE = "Free some space on its disk, or check the folder's permissions."
GLANCE = 0.05
"""Seconds after which a brief look at the lock by `holder` is certainly over."""


class Holder(NamedTuple):
    """The process that writes to a run."""

    pid: int
    host: str
    since: float
    """Unix time, in seconds, at which it took the lock."""
    command: str = ""
    """`EVALUATE`, or empty."""


@contextmanager
def hold(folder: Path, command: str = "") -> Iterator[None]:
    """Hold the lock of a run, so that no other command writes to it, for the length of a `with` block.

    Args:
        folder: the run.
        command: `EVALUATE`, or nothing, for those who ask what the holder does.

    Raises:
        RunFolderError: another command holds it, the folder cannot be written, or its disk has no locks.
    """
    with writing(folder, RunFolderError, UNWRITABLE):
        file = (folder / FILE).open("a+")
    with file:
        # `holder` takes the lock for a moment, and a dashboard calls it every other second: try twice.
        try:
            locked = _locked(file, fcntl.LOCK_EX) or _locked_after(file, GLANCE)
        except OSError as error:
            raise RunFolderError(
                "The disk of the run's folder does not support file locks (flock)",
                found=f"{folder}: {error.strerror}",
                remedy="Use a folder on another disk (--out; `tune-brain copy` copies a run there), or\n"
                "mount this one with locks (Lustre: -o flock; NFS: a server with its lock service).",
            ) from None
        if not locked:
            other = _read(file)
            raise RunFolderError(
                "Another command is writing to this run",
                found=f"{folder} is being written by process {other.pid} on {other.host}",
                remedy=f"Wait for it, or cancel it with: tune-brain cancel {quoted(folder)}\n"
                "A new search needs another --out. If that machine is gone for good, remove the file .lock.",
            )
        ours = Holder(os.getpid(), socket.gethostname(), time.time(), command)
        with writing(folder, RunFolderError, UNWRITABLE):
            file.truncate(0)
            # Unbuffered: if the disk is full, closing a buffered file would raise a second time.
            os.write(file.fileno(), json.dumps(ours._asdict()).encode())
        yield


def holder(folder: Path) -> Holder | None:
    """The process that is writing to a run, or None; None also on a disk without locks."""
    try:
        file = (folder / FILE).open()
    except OSError:
        return None
    with file:
        try:
            return None if _locked(file, fcntl.LOCK_SH) else _read(file)
        except OSError:
            return None


def _locked(file: IO[str], kind: int) -> bool:
    """Try to take the lock, which lasts until the file is closed; returns whether it was free."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_after(file: IO[str], seconds: float) -> bool:
    time.sleep(seconds)
    return _locked(file, fcntl.LOCK_EX)


def _read(file: IO[str]) -> Holder:
    file.seek(0)
    try:
        return Holder(**json.load(file))
    except (ValueError, TypeError):
        # The lock has just been taken, and its holder has not been written yet.
        return Holder(0, "an unknown host", time.time())
