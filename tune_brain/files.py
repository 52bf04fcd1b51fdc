"""Files written whole or not at all, with errors that say what to do.

A file is written under a temporary name and renamed, a folder is filled aside and moved into place, so that
nothing half-written is ever taken for complete.
"""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tune_brain.errors import ConfigError, RunFolderError, TuneBrainError

MAKING = ".making-"
"""Prefix of temporary folders whose contents are moved into place once complete."""


@contextlib.contextmanager
def writing(path: Path, error: type[TuneBrainError], remedy: str = "") -> Iterator[None]:
    """Report a failed write (missing permission, full disk) as `error`.

    Args:
        path: the file or folder that the block writes, for the message.
        error: class of the error to raise.
        remedy: what the user can do about it.

    Raises:
        TuneBrainError: of the class `error`, in place of an `OSError`.
    """
    try:
        yield
    except OSError as failure:
        problem = failure.strerror or failure
        raise error("Cannot write a file or folder", found=f"{path}: {problem}", remedy=remedy) from None


def writing_run(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Report a failed write to a run's folder as a `RunFolderError` with a remedy; see `writing`."""
    return writing(
        folder,
        RunFolderError,
        "Finished work is kept. Once the folder is writable, repeat the command, or continue a search with\n"
        "`tune-brain resume`.",
    )


def try_writing(folder: Path) -> None:
    """Check that files can be written to a folder, which need not exist yet; leaves nothing behind.

    Raises:
        OSError: they cannot.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    tempfile.TemporaryFile(dir=existing).close()


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


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends, it is flushed to disk and renamed to `path`.

    If the block raises, `path` stays as it was.
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
    """Write a text file through `replacing`."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")


def as_json(value: Mapping[str, Any]) -> str:
    """Plain values as indented JSON; NaN and infinity raise ValueError."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write plain values to a JSON file of a run, through `replacing`."""
    with writing_run(path.parent):
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
