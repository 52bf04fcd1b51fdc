"""A run's folder: created once from a configuration, opened by every later stage."""

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
from statistics import fmean
from typing import Any

from tune_brain import __version__, space
from tune_brain.config import Frozen, RunConfig, TrialConfig, check, read_toml, to_toml
from tune_brain.errors import RunFolderError
from tune_brain.files import read_json, try_writing, write_text, writing_run
from tune_brain.layout import RECORD, RUN
from tune_brain.space import Space
from tune_brain.text import legible, quoted

_PACKAGES = ("torch", "torchvision", "ray", "optuna", "numpy", "scikit-learn", "pillow")


@dataclass(frozen=True)
class Run:
    """A run's configuration and the spaces that it searches."""

    config: RunConfig
    spaces: Mapping[str, Space]

    @property
    def folder(self) -> Path:
        """The folder that holds all files of the run."""
        return self.config.out


class Winner(Frozen):
    """The configuration chosen on validation for one architecture, with all that is needed to retrain it."""

    configuration: int
    """Its number in the study; 0 is the untuned baseline."""
    trial: int
    """The full-length trial that won."""
    score: float
    """That trial's macro-F1 on validation, an optimistic best of many: most other seeds score less."""
    again: tuple[float, ...] = ()
    """Macro-F1 on validation of its trials in the final round, with other seeds."""
    values: dict[str, float]
    """The tuned hyperparameters."""
    data: Path | None = None
    """The folder of images; omitted: the built-in demo images."""
    data_digest: str
    """Digest of the images, their classes, and their split into training and validation."""
    split_seed: int
    """Seed of the split into training and validation."""
    weights: str
    """Initial weights of a pretrained architecture."""
    training: TrialConfig
    """The complete configuration of the trial."""

    @property
    def mean_score(self) -> float:
        """Mean macro-F1 on validation over all its full-length trials, by which it was chosen."""
        return fmean((self.score, *self.again))


def spaces_for(config: RunConfig) -> dict[str, Space]:
    """Load the spaces that a new run will search.

    Raises:
        ConfigError: a space file is missing or breaks a rule.
    """
    return space.load(config.spaces or space.default_folder(), config.arch)


def check_new(folder: Path) -> None:
    """Refuse the folder of a new run if it already holds a run or other files.

    Raises:
        RunFolderError: it does, or it is not a folder.
    """
    if (folder / RUN).exists():
        raise RunFolderError(
            "The folder of a new run already holds a run",
            found=str(folder),
            remedy=f"Name another with --out, or continue it with `tune-brain resume {quoted(folder)}`.",
        )
    if folder.exists() and not (folder.is_dir() and all(map(_is_ignored, folder.iterdir()))):
        raise RunFolderError(
            "A new run needs a new or empty folder",
            found=f"{folder} is not an empty folder",
            remedy="Name another with --out.",
        )


def check_writable(folder: Path) -> None:
    """Refuse a folder, which need not exist yet, that cannot be written; leaves nothing behind.

    Raises:
        RunFolderError: it cannot be written.
    """
    with writing_run(folder):
        try_writing(folder)


def _is_ignored(entry: Path) -> bool:
    """Whether an entry of a folder is hidden, like the lock, or belongs to the file system."""
    return entry.name.startswith(".") or entry.name == "lost+found"


def create(config: RunConfig, spaces: Mapping[str, Space]) -> Run:
    """Create a run's folder with run.toml and its spaces, or replace these files of an existing run.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    stored, folder = config.model_copy(update={"spaces": None}), config.out / "spaces"
    new = not folder.exists()
    path = config.out / RUN
    with writing_run(config.out):
        try:
            space.save(spaces, folder)
            comment = f"Repeat this run with: tune-brain run --config {legible(quoted(path))}"
            write_text(path, to_toml(stored, comment, leave_out=frozenset({"out"})))
        except BaseException:
            if new and not path.exists():
                # Otherwise the folder would hold no run, and yet no new run could be created in it.
                shutil.rmtree(folder, ignore_errors=True)
            raise
    return Run(stored, spaces)


def read_config(path: Path, out: Path) -> RunConfig:
    """Read a run.toml.

    Args:
        path: the file; the spaces are read from the folder `spaces` beside it if there is one.
        out: folder of the run, which the file does not name.

    Raises:
        ConfigError: the file is missing or invalid.
    """
    values = read_toml(path)
    beside = path.parent / "spaces"
    spaces = {"spaces": beside} if beside.is_dir() else {}
    return check(RunConfig, {**spaces, **values, "out": out}, str(path))


def open_run(folder: Path) -> Run:
    """Open the folder of a run.

    Raises:
        RunFolderError: there is no run in it.
        ConfigError: its run.toml or a space file is damaged.
    """
    path = folder / RUN
    if not path.is_file():
        raise RunFolderError(
            "This folder holds no run",
            found=f"no {RUN} in {folder}",
            remedy=_where_it_is(folder),
        )
    config = read_config(path, folder)
    return Run(config, space.load(folder / "spaces", config.arch))


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a run; empty if there is none yet, because the search has not begun."""
    path = folder / RECORD
    return read_json(path) if path.exists() else {}


def _where_it_is(folder: Path) -> str:
    inside = next((parent for parent in folder.absolute().parents if (parent / RUN).is_file()), None)
    return f"The run is {inside}." if inside else "Name the folder given as --out, such as results/NAME."


def winner_file(folder: Path, arch: str) -> Path:
    """The path of an architecture's winner."""
    return folder / "winners" / f"{arch}.toml"


def has_winners(config: RunConfig) -> bool:
    """Whether a run has a winner: its search has ended, or had before it was extended or copied."""
    return any(winner_file(config.out, arch).is_file() for arch in config.arch)


def write_winner(folder: Path, winner: Winner) -> Path:
    """Write a winner to its file in the run's folder; returns its path."""
    path = winner_file(folder, winner.training.arch)
    with writing_run(folder):
        write_text(path, to_toml(winner, f"Train it again with: tune-brain train {legible(quoted(path))}"))
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
        RunFolderError: there are none, because the search has not finished.
    """
    files = {arch: winner_file(run.folder, arch) for arch in run.config.arch}
    winners = {arch: read_winner(path) for arch, path in files.items() if path.is_file()}
    if not winners:
        raise RunFolderError(
            "This run has no winners yet, because its search has not finished",
            found=f"none in {run.folder / 'winners'}",
            remedy=f"See whether it runs and what is left: tune-brain status {quoted(run.folder)}\n"
            f"If it was interrupted, finish it with: tune-brain resume {quoted(run.folder)}",
        )
    return winners


def without_paths(winner: Winner) -> Winner:
    """A winner that names no folder of this machine: of a file of weights, it keeps the name."""
    return winner.model_copy(update={"data": None, "weights": Path(winner.weights).name})


def portable_toml(winner: Winner) -> str:
    """The file of a winner to pass on: it names no folder, and says what `train` must be told instead."""
    command = f"tune-brain train {winner.training.arch}.toml --to FOLDER"
    if winner.data:
        command += " --data FOLDER_OF_IMAGES"
    if winner.weights not in ("imagenet", "none"):
        command += " --weights FILE_OF_WEIGHTS"
    return to_toml(without_paths(winner), f"Train it again with: {command}")


def origin() -> dict[str, Any]:
    """The provenance of a run started now: versions, machine, git commit and time, as plain values."""
    return {
        "tune_brain": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()},
        "commit": _commit(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def processor() -> str:
    """The name of this machine's processor, followed by the bf16 instructions that it has.

    Behind a hypervisor, processors with and without them can have the same name.
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
    """The commit of this checkout, marked -dirty if files differ from it; None outside a checkout."""
    module = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(module.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()

    try:
        # Files installed into an environment inside another project's checkout are not part of it.
        if not git("ls-files", module.name):
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def changes_since(record: Mapping[str, Any]) -> list[str]:
    """One sentence for each version, or the commit, that differs from the record's."""
    before, now = _versions(record), _versions(origin())
    return [f"{name} is {now[name]}, was {before.get(name)}" for name in now if now[name] != before.get(name)]
