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


def beside(to: Path) -> Path:
    """Where to make what `move` brings to a folder that is absent or empty."""
    return to if to.exists() else to.parent


def move(made: Path, to: Path) -> None:
    """Bring a folder that was made aside to its place.

    What is there may be a mount, a link or the working directory, over which nothing can be renamed: what was
    made comes into it, one after another, files last.

    Raises:
        OSError: it cannot be moved.
    """
    if not to.exists():
        made.rename(to)
        return
    for entry in sorted(made.iterdir(), key=Path.is_file):
        entry.rename(to / entry.name)
