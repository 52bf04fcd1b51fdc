"""The folder that a command was told to write to: looked at before the work, with an error of its own."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tune_brain.errors import ConfigError


@contextlib.contextmanager
def writing(to: Path) -> Iterator[None]:
    """Turn what a disk says while `to` is written into an error with its remedy.

    Raises:
        ConfigError: the folder cannot be written, or its disk is full.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            "The folder named by --to must be writable",
            found=f"{to}: {error.strerror}",
            remedy="Make room, or name another --to.",
        ) from None


def require_writable(to: Path, files: Sequence[str]) -> None:
    """Check that a folder, there or not, can get these files; nothing is left in it.

    Raises:
        ConfigError: it cannot.
    """
    with writing(to):
        there = next(folder for folder in (to, *to.parents) if folder.exists())
        tempfile.TemporaryFile(dir=there).close()
        if any((to / file).is_dir() for file in files):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
