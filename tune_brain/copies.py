"""Copy a run to a bucket or another folder, once or continuously while it is being written, and back."""

import json
import re
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tune_brain import lock
from tune_brain.errors import ConfigError, RunFolderError, TuneBrainError
from tune_brain.files import replacing
from tune_brain.layout import CHECKPOINTS, EPOCHS, RECORD, RUN, SEAL, SEED_RUNS, TRIALS

EVERY = 30.0
"""Seconds between two copies of a run that is being written: the work that the loss of its disk can cost."""
ROWS = (TRIALS, EPOCHS)
"""Read in this order and written in reverse: a copy never has the end of a trial without its epochs."""
WINNER = re.compile(r"winners/[^/]+\.toml")
"""The file of a winner, which an extended search removes until it has chosen again."""


@dataclass(frozen=True)
class Place:
    """A folder on a disk or in a bucket."""

    system: Any
    """Its fsspec file system."""
    root: str
    name: str
    """Its name for messages, without passwords."""

    @classmethod
    def of(cls, url: str) -> "Place":
        """The place named by a path or an fsspec URL.

        Raises:
            ConfigError: fsspec does not support the URL, or the library for it is not installed.
            RunFolderError: the place cannot be reached.
        """
        name = _without_passwords(url)
        try:
            system, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                "Not a path, nor a URL that fsspec supports",
                found=f"{name}: {error}",
                remedy="For s3:// install s3fs, for gs:// gcsfs, for az:// adlfs, in the same environment.",
            ) from None
        except Exception as error:
            raise _failed(name, error) from None
        return cls(system, root.rstrip("/"), name)

    def is_within(self, other: "Place") -> bool:
        """Whether this is the other place or lies inside it."""
        return bool(self.system == other.system) and f"{self.root}/".startswith(f"{other.root}/")

    def files(self) -> dict[str, tuple[int, Any]]:
        """Size and modification time of each file of a run, by its name relative to the place.

        The files that identify the run come first, so that an interrupted copy can be continued; then the
        seal, so that no copy has results of the test without the note that it was opened.
        """
        if not self.system.isdir(self.root):
            return {}
        details = {
            path.removeprefix(self.root).lstrip("/"): (file["size"], file.get("mtime") or file.get("created"))
            for path, file in self.system.find(self.root, detail=True).items()
            # Not links that lead nowhere, nor the empty objects that consoles of buckets create for folders.
            if not path.endswith("/") and (file["type"] == "file" or self.system.isfile(path))
        }
        copied = [name for name in details if _is_copied(PurePosixPath(name))]
        first = (RUN, RECORD, SEAL)
        order = sorted(copied, key=lambda name: (first.index(name) if name in first else len(first), name))
        return {name: details[name] for name in order}

    def read(self, name: str) -> bytes:
        """The content of a file."""
        content: bytes = self.system.cat_file(f"{self.root}/{name}")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Create or replace a file atomically: objects in buckets are, local files go through `replacing`."""
        path = f"{self.root}/{name}"
        if isinstance(self.system, LocalFileSystem):
            with replacing(Path(path)) as aside:
                aside.write_bytes(content)
        else:
            self.system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.system.pipe_file(path, content)

    def remove(self, name: str) -> None:
        """Remove a file."""
        self.system.rm_file(f"{self.root}/{name}")


def copy(source: str, target: str, *, follow: bool = False, report: Callable[[str], None] = print) -> None:
    """Copy a run to another place, or back from it, without checkpoints.

    Winners that the source no longer has, because its search goes on, are removed from the target.

    Args:
        source: the run's folder, or the URL of a copy.
        target: a path or URL that is empty or holds an earlier copy of the same run.
        follow: repeat every half minute until no command writes to the run. A failed round is reported and
            made up for by the next one.
        report: called with a line for each round that copied files or failed.

    Raises:
        ConfigError: a URL cannot be used, or the target lies inside the source.
        RunFolderError: there is no run at the source, there is another or a newer one at the target, or
            reading or writing fails.
    """
    here, there = Place.of(source), Place.of(target)
    if there.is_within(here):
        raise ConfigError(
            "The target of a copy must not be inside the run",
            found=f"{there.name} in {here.name}",
            remedy="Choose another place.",
        )
    copied: dict[str, tuple[int, Any]] = {}
    for last in _rounds(here, follow):
        try:
            copied = _copy(here, there, copied, report)
        except TuneBrainError:
            raise
        except Exception as error:
            failure = _failed(f"{here.name} to {there.name}", error)
            if last:
                raise failure from None
            report(str(failure))


def _rounds(here: Place, follow: bool) -> Iterator[bool]:
    """Yield False for each round while the run is being written, with `follow`, and True for the last round.

    The run has ended when two looks in a row find no writer: between two stages there is none for a moment.
    """
    idle = 0
    while follow and idle < 2:
        idle = 0 if lock.holder(Path(here.root)) is not None else idle + 1
        if idle < 2:
            yield False
            time.sleep(EVERY)
    yield True


def _copy(
    here: Place, there: Place, copied: dict[str, tuple[int, Any]], report: Callable[[str], None]
) -> dict[str, tuple[int, Any]]:
    """Copy the files that have changed since they were copied; returns the state of all that the target has.

    Args:
        here: the source.
        there: the target.
        copied: sizes and times of the files copied in earlier rounds, by name.
        report: called with the number of files, if any were copied.
    """
    files = here.files()
    if RUN not in files:
        raise RunFolderError(
            "There is no run to copy",
            found=f"no {RUN} in {here.name}",
            remedy="Name the folder given as --out, or the URL to which a run was copied.",
        )
    before = copied or there.files()
    if before and not copied:
        _check_target(here, there, files, before)
    if isinstance(there.system, LocalFileSystem) and lock.holder(Path(there.root)) is not None:
        raise RunFolderError(
            "A command is writing to the target of the copy",
            found=there.name,
            remedy="Choose another place, or exchange source and target.",
        )
    gone = [name for name in before if WINNER.fullmatch(name) and name not in files]
    if gone and TRIALS in files and (TRIALS not in before or here.read(TRIALS) != there.read(TRIALS)):
        # First of all, since beside newer rows they would pass for the choice from them.
        for name in gone:
            there.remove(name)
        report(f"{len(gone)} winners of the shorter search removed from {there.name}")
        gone = []
    changed = [name for name in files if files[name] != copied.get(name)]
    for name in changed:
        if name not in ROWS:
            there.write(name, here.read(name))
    # Both files, even if only one is listed as changed: the other may have changed since.
    of_rows = [name for name in ROWS if name in files] if set(ROWS) & set(changed) else []
    rows = {name: here.read(name) for name in of_rows}
    for name in reversed(rows):
        there.write(name, rows[name])
    if changed:
        report(f"{len(changed)} files copied to {there.name}")
    return files | {name: before[name] for name in gone}


def _check_target(here: Place, there: Place, files: Container[str], existing: Mapping[str, object]) -> None:
    """Refuse to overwrite another run, or a copy that has rows which the source lacks."""
    if not _are_of_one_run(here, files, there, existing):
        raise RunFolderError(
            "The target of a copy must be empty or hold an earlier copy of the same run",
            found=f"{there.name} holds {len(existing)} files of something else",
            remedy="Choose another place.",
        )
    for name in (*ROWS, SEED_RUNS, SEAL):
        content = here.read(name) if name in files else b""
        if name in existing and not _extends(name, there.read(name), content):
            raise RunFolderError(
                "The copy would lose rows that only the target has",
                found=f"{name} in {there.name} holds more than, or other rows than, that in {here.name}",
                remedy="Choose another place, or exchange source and target.",
            )


def _extends(name: str, before: bytes, now: bytes) -> bool:
    """Whether the new content of a file holds all of its earlier content, and perhaps more."""
    if name == SEAL and now:
        old, new = json.loads(before), json.loads(now)
        openings, more = old.pop("again", []), new.pop("again", [])
        return bool(old == new and more[: len(openings)] == openings)
    # An incomplete last line was cut off while it was written, and does not count.
    return now.startswith(before.rpartition(b"\n")[0])


def _are_of_one_run(here: Place, files: Container[str], there: Place, existing: Container[str]) -> bool:
    """Compare the records or, where the search or the first copy had not got that far, the configurations."""
    if RECORD in files and RECORD in existing:
        return _identity(here) == _identity(there)
    return RECORD not in existing and RUN in existing and here.read(RUN) == there.read(RUN)


def _failed(where: str, error: Exception) -> RunFolderError:
    """Convert an error of a file system: each kind has its own classes, and messages may hold passwords."""
    return RunFolderError(
        "Cannot read the run or write its copy",
        found=f"{where}: {type(error).__name__}: {_without_passwords(str(error))}",
        remedy="Files copied so far stay. Repeat the command when the cause is gone.",
    )


def _identity(place: Place) -> object:
    """What distinguishes a run from all others: when, where and on which images it began."""
    record = json.loads(place.read(RECORD))
    return [record.get(name) for name in ("started", "machine", "data")]


def _is_copied(name: PurePosixPath) -> bool:
    """Whether a file belongs in a copy: not checkpoints, hidden files such as the lock, or keys with `..`."""
    return name.parts[0] != CHECKPOINTS and not any(part.startswith(".") for part in name.parts)


def _without_passwords(text: str) -> str:
    """The text with users, passwords and query strings, which may hold signatures, removed from its URLs."""
    return re.sub(r"://(?:[^/\s]*@)?([^?\s]*)(?:\?\S*)?", r"://\1", text)
