"""Steps that several stages share: load a run's images and weights, and say how to continue."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tune_brain.config import PRETRAINED, RunConfig, check
from tune_brain.data.cache import cache_root
from tune_brain.data.demo import is_written, write_demo
from tune_brain.data.prepare import Prepared, prepare
from tune_brain.errors import ConfigError, DataError, Interrupted, WeightsError
from tune_brain.files import read_json
from tune_brain.layout import RECORD, RUN
from tune_brain.progress import Progress
from tune_brain.runs import Run, read_record

if TYPE_CHECKING:
    from tune_brain.weights import ResolvedWeights

RANDOM = "random weights"
UNCHANGED: Mapping[str, Any] = MappingProxyType({})
"""No changes, the default of commands that may change fields of a run's configuration."""


def with_options(run: Run, given: Mapping[str, Any]) -> Run:
    """The run with the given fields of its configuration replaced; nothing is written.

    Args:
        run: the run.
        given: fields of `RunConfig` that options of the command set, by name.

    Raises:
        ConfigError: an option breaks a rule.
    """
    return Run(check(RunConfig, {**run.config.model_dump(), **given}, "An option"), run.spaces)


def gpus_of(run: Run) -> float | None:
    """How many GPUs each trial of the run has taken so far, by its record; None if the record lacks it.

    A run that is continued keeps this number whatever the machines have now: CPUs and GPUs round differently.
    """
    gpus: float | None = read_record(run.folder).get("gpus_per_trial")
    return gpus


def images(config: RunConfig, progress: Progress) -> Prepared:
    """Decode the images of a run, or read them from the cache.

    Raises:
        DataError: they cannot be read, or are not where the configuration says.
    """
    root = config.data
    if root is None:
        root = cache_root() / "demo-images"
        if not is_written(root):
            # The folder may hold what an interrupted command left of the demo images.
            shutil.rmtree(root, ignore_errors=True)
            write_demo(root)
    elif not root.exists():
        raise DataError(
            "The image folder does not exist; relative paths start from the working directory",
            found=f"no {root}" if root.is_absolute() else f"no {root} in {Path.cwd()}",
            remedy="Write its path into the file that names it (run.toml; for `train` the winner's, or\n"
            "--data). A relative one also works in the directory in which the search was started.",
        )
    with progress.bar("decoding images") as advance:
        return prepare(root, image_size=config.image_size, seed=config.seed, advance=advance)


def starting_weights(config: RunConfig, progress: Progress) -> "ResolvedWeights | None":
    """Resolve and announce the initial weights of the pretrained architecture; None for random ones."""
    if PRETRAINED not in config.arch:
        return None
    from tune_brain import weights

    resolved = weights.resolve(config.weights)
    warning = "" if resolved else ", so its scores say nothing about a pretrained network"
    progress.say(f"{PRETRAINED} starts from {origin_of(resolved)}{warning}")
    return resolved


def origin_of(start: "ResolvedWeights | None") -> str:
    """How a record names the initial weights of the pretrained architecture."""
    return start.origin if start else RANDOM


def same_for_all(run: Run) -> dict[str, Any]:
    """The settings that all trials of a run share, as plain values; they must not change during a run."""
    return {
        "image_size": run.config.image_size,
        "ladder": list(run.config.ladder),
        "fixed": {arch: dict(space.fixed) for arch, space in run.spaces.items()},
        "baseline": {arch: dict(space.baseline) for arch, space in run.spaces.items()},
    }


def check_same(run: Run, prepared: Prepared, start: "ResolvedWeights | None") -> None:
    """Refuse images, initial weights or settings other than those that the run began with.

    Raises:
        ConfigError: a setting that all trials share was edited in run.toml or a space file.
        DataError: the images, their split or their order differ.
        WeightsError: the pretrained architecture would start from other weights.
    """
    record = read_json(run.folder / RECORD)
    now = same_for_all(run)
    for name, before in record.get("all_trials", {}).items():
        if now[name] != ({**now[name], **before} if isinstance(before, dict) else before):
            raise ConfigError(
                "A setting that all trials of the run share was edited in its files",
                found=f"{name} is {now[name]}, and was {before}",
                remedy="Restore run.toml and spaces/, or start a new run.",
            )
    check_digest(prepared, record["data"]["cut_digest"], str(run.folder))
    order = record["data"].get("order_digest")
    if order and order != prepared.summary["order_digest"]:
        raise DataError(
            "Image files must keep their names, and patients.csv its patients, during a run: trials see "
            "images in the order of names",
            found="the same images in another order, in other groups, or of other patients",
            remedy="Restore the names or patients.csv, or start a new run.",
        )
    if PRETRAINED in record["precision"] and _contents(origin_of(start)) != _contents(record["weights"]):
        raise WeightsError(
            f"The initial weights of {PRETRAINED} are not those that {run.folder} began with",
            found=f"{origin_of(start)} instead of {record['weights']}",
            remedy="Restore the file, or start a new run.",
        )


def _contents(origin: str) -> str:
    """What identifies initial weights whatever their file is called: the digest in `origin_of`, if any."""
    return origin.rpartition("SHA-256 ")[2]


def check_digest(prepared: Prepared, digest: str, what: str) -> None:
    """Refuse images other than those that `what`, a run's folder or a winner's file, was made with.

    Raises:
        DataError: the digests differ.
    """
    actual = prepared.summary["cut_digest"]
    if actual != digest:
        raise DataError(
            f"The images or their split are not those that {what} was made with",
            found=f"digest {actual[:12]} instead of {digest[:12]}",
            remedy="Restore the folder and the version of tune_brain, or start a new run.",
        )


@contextmanager
def resume_hint(command: str) -> Iterator[None]:
    """Name the command that continues the stage if the block is interrupted.

    Args:
        command: the arguments of `tune-brain`.

    Raises:
        Interrupted: the block was interrupted.
    """
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(
            "Interrupted; finished work is kept", remedy=f"Continue with: tune-brain {command}"
        ) from None


@contextmanager
def rerun_hint(folder: Path, command: str) -> Iterator[None]:
    """`resume_hint` for a command that changes what the run asks for.

    Until the block has written the change to run.toml, `command` alone would lose it: then the user is told
    to repeat the command with its options.

    Args:
        folder: the run.
        command: the arguments of `tune-brain` that continue the stage once run.toml has the change.

    Raises:
        Interrupted: the block was interrupted.
    """
    before = (folder / RUN).stat().st_mtime_ns
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        if (folder / RUN).stat().st_mtime_ns == before:
            raise Interrupted(
                "Interrupted before anything was changed", remedy="Repeat the same command."
            ) from None
        with resume_hint(command):
            raise
