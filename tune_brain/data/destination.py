"""The folder that a command was told to write to: looked at before the work, with an error of its own."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tune_brain.errors import ConfigError
from tune_brain.records import try_writing

MAKING = ".making-"
"""How folders begin that are made aside."""


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
            "The folder that is written must be writable",
            found=f"{to}: {error.strerror}",
            remedy="Make room, or name another folder (after run: tune-brain export RUN --to DIR).",
        ) from None


def require_writable(to: Path, files: Sequence[str]) -> None:
    """Check that a folder, there or not, can get these files; nothing is left in it.

    Raises:
        ConfigError: it cannot.
    """
    with writing(to):
        try_writing(to)
        if any((to / file).is_dir() for file in files):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def require_new(to: Path, what: str) -> None:
    """Check that a folder is absent or empty, but for what a command that was killed had begun in it.

    Raises:
        ConfigError: it is not.
    """
    if to.exists() and (not to.is_dir() or any(not one.name.startswith(MAKING) for one in to.iterdir())):
        raise ConfigError(f"{what} needs a new or empty folder", found=to, remedy="Name another one.")


@contextlib.contextmanager
def making(to: Path) -> Iterator[Path]:
    """The folder to make for one that is absent or empty: all of it is there at the block's end, or none.

    Raises:
        OSError: it cannot be made, or brought to its place.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=MAKING, dir=to if to.exists() else to.parent) as aside:
        made = Path(aside) / "made"
        yield made
        if to.exists():
            # A mount, a link or the working directory, over which nothing can be renamed; files come last.
            for entry in sorted(made.iterdir(), key=Path.is_file):
                entry.rename(to / entry.name)
        else:
            made.rename(to)
