"""One command at a time writes to a run: a lock that a crash releases."""

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
from tune_brain.text import quoted

FILE = ".lock"
GLANCE = 0.05
"""Seconds after which a look at the lock is over."""


class Holder(NamedTuple):
    """The process that writes to a run."""

    pid: int
    host: str
    since: float
    """Unix time, in seconds."""


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other commands from writing to a run for the length of a `with` block.

    Raises:
        RunFolderError: another command does, the folder cannot be written, or its disk knows no locks.
    """
    try:
        file = (folder / FILE).open("a+")
    except OSError as error:
        raise _unwritable(folder, error) from None
    with file:
        # Whoever asks for the holder has the lock for a moment, and a dashboard asks every other second.
        try:
            locked = _locked(file, fcntl.LOCK_EX) or _locked_after(file, GLANCE)
        except OSError as error:
            raise RunFolderError(
                "The disk of a run's folder must know locks (flock)",
                found=f"{folder}: {error.strerror}",
                remedy="Name a folder on another disk (--out; `tune-brain copy` brings a run there), or\n"
                "mount this one with locks (Lustre: -o flock; NFS: a server with its lock service).",
            ) from None
        if not locked:
            other = _read(file)
            raise RunFolderError(
                "One command at a time writes to a run",
                found=f"{folder} is in the hands of process {other.pid} on {other.host}",
                remedy=f"Wait for it, or end it with: tune-brain cancel {quoted(folder)}\n"
                "A new search takes another --out. If its machine is gone for good, remove the .lock.",
            )
        own = Holder(os.getpid(), socket.gethostname(), time.time())
        try:
            file.truncate(0)
            # Not kept back by the file, whose closing would raise once more.
            os.write(file.fileno(), json.dumps(own._asdict()).encode())
        except OSError as error:
            raise _unwritable(folder, error) from None
        yield


def holder(folder: Path) -> Holder | None:
    """The process that writes to a run now, or None; on a disk that knows no locks there can be none."""
    try:
        file = (folder / FILE).open()
    except OSError:
        return None
    with file:
        try:
            return None if _locked(file, fcntl.LOCK_SH) else _read(file)
        except OSError:
            return None


def _unwritable(folder: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        "A run's folder must be writable",
        found=f"{folder}: {error.strerror}",
        remedy="Make room on its disk, or see who may write there.",
    )


def _locked(file: IO[str], kind: int) -> bool:
    """Take the lock until the file is closed, if it is free."""
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
        # Taken this moment, and not signed yet.
        return Holder(0, "an unknown host", time.time())
