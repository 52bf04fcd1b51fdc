"""A run's files in another place, a bucket or a folder, kept up while the run is written; and back."""

import json
import re
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from tune_brain import lock
from tune_brain.errors import ConfigError, RunFolderError, TuneBrainError
from tune_brain.records import CHECKPOINTS, replacing

EVERY = 30.0
"""Seconds between two copies of a run that is being written: what the loss of its disk can cost."""
RUN, RECORD = "run.toml", "record.json"
SEED_RUNS, SEAL = "seed_runs.jsonl", "sealed.json"
ROWS = ("trials.jsonl", "epochs.jsonl")
"""Read in this order and written in the other: so a copy never has a trial's end without its epochs."""


@dataclass(frozen=True)
class Place:
    """A folder on a disk or in a bucket."""

    system: Any
    """Its fsspec file system."""
    root: str
    told: str
    """How it is named to people: a password in its URL is not."""

    @classmethod
    def of(cls, url: str) -> "Place":
        """The place that an fsspec URL or a path names.

        Raises:
            ConfigError: there is no such kind of place, or its library is not installed.
        """
        told = _without_passwords(url)
        try:
            system, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                "A copy needs a path, or a URL that fsspec knows",
                found=f"{told}: {error}",
                remedy="For s3:// install s3fs, for gs:// gcsfs, for az:// adlfs, into the same environment.",
            ) from None
        except Exception as error:
            raise _failed(told, error) from None
        return cls(system, root.rstrip("/"), told)

    def is_within(self, other: "Place") -> bool:
        """Whether this is the other place, or one in it."""
        return bool(self.system == other.system) and f"{self.root}/".startswith(f"{other.root}/")

    def files(self) -> dict[str, tuple[int, Any]]:
        """Sizes and times of a run's files, by names relative to the place.

        What says which run it is comes first, so that a copy which broke off can be gone on with; then that
        the test was opened, of which the rest may tell.
        """
        if not self.system.isdir(self.root):
            return {}
        found = self.system.find(self.root, detail=True)
        named = {
            name.removeprefix(self.root).lstrip("/"): (one["size"], one.get("mtime") or one.get("created"))
            for name, one in found.items()
        }
        kept = [name for name in named if _is_kept(PurePosixPath(name))]
        first = (RUN, RECORD, SEAL)
        order = sorted(kept, key=lambda name: (first.index(name) if name in first else len(first), name))
        return {name: named[name] for name in order}

    def read(self, name: str) -> bytes:
        """The content of a file."""
        content: bytes = self.system.cat_file(f"{self.root}/{name}")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Make or replace a file. It appears whole: an object does, a file is written aside and renamed."""
        path = f"{self.root}/{name}"
        if isinstance(self.system, LocalFileSystem):
            with replacing(Path(path)) as aside:
                aside.write_bytes(content)
        else:
            self.system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.system.pipe_file(path, content)


def copy(source: str, target: str, *, follow: bool = False, said: Callable[[str], None] = print) -> None:
    """Copy a run to a place, or back from one; checkpoints stay behind.

    Args:
        source: the run's folder, or the URL of a copy.
        target: a URL or a path; it holds nothing, or an earlier copy of the same run.
        follow: go on, every half a minute, until no command writes to the run any more. A round that fails is
            said and made up for by the next.
        said: told how many files were copied.

    Raises:
        ConfigError: a URL cannot be used, or the target lies in the source.
        RunFolderError: there is no run at the source, another or a newer one at the target, or one of them
            fails.
    """
    here, there = Place.of(source), Place.of(target)
    if there.is_within(here):
        raise ConfigError(
            "A copy stands beside its run, not in it",
            found=f"{there.told} in {here.told}",
            remedy="Name another place.",
        )
    known: dict[str, tuple[int, Any]] = {}
    for last in _rounds(here, follow):
        try:
            known = _copy(here, there, known, said)
        except TuneBrainError:
            raise
        except Exception as error:
            failure = _failed(f"{here.told} to {there.told}", error)
            if last:
                raise failure from None
            said(str(failure))


def _rounds(here: Place, follow: bool) -> Iterator[bool]:
    """One round, or with `follow` one after another while the run is written, and the last, which is True.

    A run has ended when twice in a row nothing writes to it: between its stages nothing does for a moment.
    """
    idle = 0
    while follow and idle < 2:
        idle = 0 if lock.holder(Path(here.root)) is not None else idle + 1
        if idle < 2:
            yield False
            time.sleep(EVERY)
    yield True


def _copy(
    here: Place, there: Place, known: dict[str, tuple[int, Any]], said: Callable[[str], None]
) -> dict[str, tuple[int, Any]]:
    """Copy the files that are not known to be there as they are; returns what is there then."""
    files = here.files()
    if RUN not in files:
        raise RunFolderError(
            "A copy needs a run to copy",
            found=f"no run.toml in {here.told}",
            remedy="Name the folder that --out named, or the URL that a run was copied to.",
        )
    if not known:
        _check(here, there, files)
    if isinstance(there.system, LocalFileSystem) and lock.holder(Path(there.root)) is not None:
        raise RunFolderError(
            "A copy is not made into a run that a command writes to",
            found=there.told,
            remedy="Name another place, or the two the other way round.",
        )
    changed = [name for name in files if files[name] != known.get(name)]
    for name in changed:
        if name not in ROWS:
            there.write(name, here.read(name))
    # Both, be it that one has changed since the files were listed.
    of_both = [name for name in ROWS if name in files] if set(ROWS) & set(changed) else []
    rows = {name: here.read(name) for name in of_both}
    for name in reversed(rows):
        there.write(name, rows[name])
    if changed:
        said(f"{len(changed)} files copied to {there.told}")
    return files


def _check(here: Place, there: Place, files: dict[str, tuple[int, Any]]) -> None:
    """Refuse to copy over another run, or over one that is further."""
    others = there.files()
    if others and not _are_of_one_run(here, files, there, others):
        raise RunFolderError(
            "A copy needs an empty place, or one that holds an earlier copy of the same run",
            found=f"{there.told} holds {len(others)} files of something else",
            remedy="Name another place.",
        )
    for name in (*ROWS, SEED_RUNS, SEAL):
        if name in others and not _goes_on(name, there.read(name), here.read(name) if name in files else b""):
            raise RunFolderError(
                "A copy replaces rows by the same and more",
                found=f"{name} in {there.told} holds what that in {here.told} does not",
                remedy="Name another place, or the two the other way round.",
            )


def _goes_on(name: str, before: bytes, now: bytes) -> bool:
    """Whether a file holds what it held before, and perhaps more."""
    if name == SEAL and now:
        old, new = json.loads(before), json.loads(now)
        said, more = old.pop("again", []), new.pop("again", [])
        return bool(old == new and more[: len(said)] == said)
    # What follows the last line's end was torn as it was written.
    return now.startswith(before.rpartition(b"\n")[0])


def _are_of_one_run(here: Place, files: Container[str], there: Place, others: Container[str]) -> bool:
    """By their records, or by what was asked where a search or a first copy was not as far as that."""
    if RECORD in files and RECORD in others:
        return _made(here) == _made(there)
    return RECORD not in others and RUN in others and here.read(RUN) == there.read(RUN)


def _failed(where: str, error: Exception) -> RunFolderError:
    """What a place raised: each kind has its own errors, and their texts can hold a URL with a password."""
    return RunFolderError(
        "A run must be readable, and the place of its copy writable",
        found=f"{where}: {type(error).__name__}: {_without_passwords(str(error))}",
        remedy="What was copied stays. Call it again when the cause is gone.",
    )


def _made(place: Place) -> object:
    """What tells a run from all others: when, where and on which images it began."""
    record = json.loads(place.read(RECORD))
    return [record.get(name) for name in ("started", "machine", "data")]


def _is_kept(name: PurePosixPath) -> bool:
    """Whether a file belongs to a copy: no hidden one such as the lock, no key of a bucket with `..`."""
    return name.parts[0] != CHECKPOINTS and not any(part.startswith(".") for part in name.parts)


def _without_passwords(text: str) -> str:
    """A text whose URLs name no user, no password and nothing that is asked of them, as a signature is."""
    return re.sub(r"://(?:[^/\s]*@)?([^?\s]*)(?:\?\S*)?", r"://\1", text)
