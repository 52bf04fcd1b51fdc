"""Output folders: checked before the work starts, and filled completely or not at all."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tune_brain.errors import ConfigError, writing
from tune_brain.records import try_writing

MAKING = ".making-"
"""Prefix of temporary folders whose contents are moved into place once complete."""


def writing_output(to: Path) -> contextlib.AbstractContextManager[None]:
    """Report a failed write to an output folder as a `ConfigError` that says what to do; see `writing`."""
    return writing(
        to,
        ConfigError,
        "Free some disk space, or name another folder (after run: tune-brain export RUN --to DIR).",
    )


def require_writable(to: Path, files: Sequence[str]) -> None:
    """Check that these files can be written to a folder, which need not exist yet; leaves nothing behind.

    Args:
        to: the folder.
        files: names of the files that will be written.

    Raises:
        ConfigError: they cannot.
    """
    with writing_output(to):
        try_writing(to)
        if any((to / file).is_dir() for file in files):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def require_new(to: Path, what: str) -> None:
    """Check that a folder is absent or empty, apart from temporary folders that a killed command left.

    Args:
        to: the folder.
        what: what will be written, as the subject of the error message.

    Raises:
        ConfigError: it holds something else, or is a file.
    """
    if to.exists() and (not to.is_dir() or any(not entry.name.startswith(MAKING) for entry in to.iterdir())):
        raise ConfigError(f"{what} needs a new or empty folder", found=to, remedy="Name another one.")


@contextlib.contextmanager
def making(to: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; when the block ends without an error, its contents become `to`.

    Args:
        to: where the contents belong; absent or empty. After an error it holds nothing.

    Raises:
        OSError: the folder cannot be created or moved into place.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=MAKING, dir=to if to.exists() else to.parent) as aside:
        made = Path(aside) / "made"
        yield made
        if to.exists():
            # It may be a mount point, a link or the working directory, which a rename cannot replace. Files
            # come last.
            for entry in sorted(made.iterdir(), key=Path.is_file):
                entry.rename(to / entry.name)
        else:
            made.rename(to)
