"""A run's folder: made once from what was asked, opened by every later stage."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_brain import __version__, space
from tune_brain.config import Frozen, RunConfig, TrialConfig, check, read_toml, to_toml
from tune_brain.errors import RunFolderError
from tune_brain.records import read_json, try_writing, write_text, writing
from tune_brain.space import Space
from tune_brain.text import legible, quoted

_PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "scikit-learn", "pillow")


@dataclass(frozen=True)
class Run:
    """What a run was asked for, and the spaces that it searches."""

    config: RunConfig
    spaces: Mapping[str, Space]

    @property
    def folder(self) -> Path:
        """Where everything that the run makes stands."""
        return self.config.out


class Winner(Frozen):
    """The configuration chosen on validation for one architecture; all that is needed to train it again."""

    configuration: int
    """Its number in the study; 0 is the untuned baseline."""
    trial: int
    """The full-length trial that won."""
    score: float
    """That trial's macro-F1 on validation. A best of many: another seed will more often score less."""
    again: tuple[float, ...] = ()
    """Macro-F1 on validation of its trials of the final round, with other seeds."""
    values: dict[str, float]
    """The tuned hyperparameters."""
    data: Path | None = None
    """The folder of images; left out: the built-in demo images."""
    data_digest: str
    """Digest of the images, their classes, and which trained and which validated."""
    split_seed: int
    """Seed that cut validation from training."""
    weights: str
    """Where a pretrained architecture started."""
    training: TrialConfig
    """The trial, complete."""


def spaces_for(config: RunConfig) -> dict[str, Space]:
    """The spaces that a new run will search.

    Raises:
        ConfigError: a space file is missing or breaks a rule.
        RunFolderError: the run's folder holds a run already.
    """
    check_new(config.out)
    return space.load(config.spaces or space.default_folder(), config.arch)


def check_new(folder: Path) -> None:
    """Refuse a folder that holds a run already, or anything else that a run would take for its own.

    Raises:
        RunFolderError: it does.
    """
    if (folder / "run.toml").exists():
        raise RunFolderError(
            "A new run needs a folder of its own",
            found=f"{folder} holds a run",
            remedy=f"Name another with --out, or go on with `tune-brain resume {quoted(folder)}`.",
        )
    if folder.exists() and not (folder.is_dir() and all(map(_is_nobodys, folder.iterdir()))):
        raise RunFolderError(
            "A new run needs a folder of its own",
            found=f"{folder} is no empty folder",
            remedy="Name another with --out.",
        )


def check_writable(folder: Path) -> None:
    """Refuse a folder, there or not, in which no run can be made; nothing is left in it.

    Raises:
        RunFolderError: it cannot be written.
    """
    with writing(folder):
        try_writing(folder)


def _is_nobodys(entry: Path) -> bool:
    """Whether an entry of a folder is hidden, as our lock is, or of the disk itself."""
    return entry.name.startswith(".") or entry.name == "lost+found"


def create(config: RunConfig, spaces: Mapping[str, Space]) -> Run:
    """Make a run's folder with run.toml and its spaces.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    kept, folder = config.model_copy(update={"spaces": None}), config.out / "spaces"
    new = not folder.exists()
    path = config.out / "run.toml"
    with writing(config.out):
        try:
            space.save(spaces, folder)
            comment = f"Repeat this run with: tune-brain run --config {legible(quoted(path))}"
            write_text(path, to_toml(kept, comment, leave_out=frozenset({"out"})))
        except BaseException:
            if new and not path.exists():
                # Else the folder could be taken by no new run, and is none.
                shutil.rmtree(folder, ignore_errors=True)
            raise
    return Run(kept, spaces)


def read_config(path: Path, out: Path) -> RunConfig:
    """What a run.toml asks for, to be written to another folder; its spaces stand beside it."""
    values = read_toml(path)
    beside = path.parent / "spaces"
    spaces = {"spaces": beside} if beside.is_dir() else {}
    return check(RunConfig, {**spaces, **values, "out": out}, str(path))


def open_run(folder: Path) -> Run:
    """Open the folder of a run.

    Raises:
        RunFolderError: there is no run in it.
        ConfigError: its run.toml or a space file was damaged.
    """
    path = folder / "run.toml"
    if not path.is_file():
        raise RunFolderError(
            "A run's folder holds run.toml",
            found=f"none in {folder}",
            remedy=_where_it_is(folder),
        )
    config = read_config(path, folder)
    return Run(config, space.load(folder / "spaces", config.arch))


def read_record(folder: Path) -> dict[str, Any]:
    """Where a run comes from; empty where it has not been written down, as before a search has begun."""
    path = folder / "record.json"
    return read_json(path) if path.exists() else {}


def _where_it_is(folder: Path) -> str:
    inside = next((parent for parent in folder.absolute().parents if (parent / "run.toml").is_file()), None)
    return f"It is {inside}." if inside else "Give the folder that --out named, such as results/NAME."


def winner_file(folder: Path, arch: str) -> Path:
    """Where the winner of an architecture stands."""
    return folder / "winners" / f"{arch}.toml"


def write_winner(folder: Path, winner: Winner) -> Path:
    """Write a winner to its file."""
    path = winner_file(folder, winner.training.arch)
    with writing(folder):
        write_text(path, to_toml(winner, f"Train it again with: tune-brain train {quoted(path)}"))
    return path


def read_winner(path: Path) -> Winner:
    """Read a winner's file.

    Raises:
        ConfigError: the file is missing or damaged.
    """
    return check(Winner, read_toml(path), str(path))


def read_winners(run: Run) -> dict[str, Winner]:
    """The winners of a run, by architecture, in the run's order.

    Raises:
        RunFolderError: the search has left none yet.
    """
    files = {arch: winner_file(run.folder, arch) for arch in run.config.arch}
    winners = {arch: read_winner(path) for arch, path in files.items() if path.is_file()}
    if not winners:
        raise RunFolderError(
            "Winners stand when the search has ended",
            found=f"none in {run.folder / 'winners'}",
            remedy=f"End it first: tune-brain resume {quoted(run.folder)}\n"
            f"What is left of it, and what has failed: tune-brain status {quoted(run.folder)}",
        )
    return winners


def origin() -> dict[str, Any]:
    """Where a run was made: versions, machine, git commit and time, as plain values."""
    return {
        "tune_brain": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()},
        "commit": _commit(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def processor() -> str:
    """The name of this machine's processor, and its instructions for bf16.

    Behind a hypervisor one name can stand for processors with and without them.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    bf16 = [flag for flag in ("avx512_bf16", "amx_bf16") if re.search(rf"\b{flag}\b", text)]
    return " ".join([name[1] if name else platform.processor() or platform.machine(), *bf16])


def _versions(record: Mapping[str, Any]) -> dict[str, Any]:
    named = {"tune_brain": record["tune_brain"], "Python": record["python"], **record["packages"]}
    return {**named, "commit": record.get("commit")}


def _commit() -> str | None:
    """The commit of the checkout that runs, marked where files differ from it; None outside a checkout."""
    own = Path(__file__)

    def git(*asked: str) -> str:
        command = ["git", "-C", str(own.parent), *asked]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()

    try:
        # Installed into an environment inside some checkout, these files are not that checkout's.
        if not git("ls-files", own.name):
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def changes_since(record: Mapping[str, Any]) -> list[str]:
    """Which versions, or which commit, are others than those that a record was made with, in words."""
    before, now = _versions(record), _versions(origin())
    return [f"{name} is {now[name]}, was {before.get(name)}" for name in now if now[name] != before.get(name)]
