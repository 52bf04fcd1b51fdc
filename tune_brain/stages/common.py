"""What several stages do: have a run's images and weights at hand, say how to go on."""

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
from tune_brain.progress import Progress
from tune_brain.records import read_json
from tune_brain.runs import Run, read_record

if TYPE_CHECKING:
    from tune_brain.weights import ResolvedWeights

RANDOM = "random weights"
UNCHANGED: Mapping[str, Any] = MappingProxyType({})
"""No field of a run's configuration, where a command may change some."""


def with_options(run: Run, given: Mapping[str, Any]) -> Run:
    """A run with some fields of its configuration as the options name them; nothing is written.

    Raises:
        ConfigError: an option breaks a rule.
    """
    return Run(check(RunConfig, {**run.config.model_dump(), **given}, "An option"), run.spaces)


def gpus_of(run: Run) -> float | None:
    """How many GPUs a trial of the run has taken so far, by its record; None where that does not say.

    What goes on trains as before, whatever machines are there now: CPUs and GPUs round differently.
    """
    gpus: float | None = read_record(run.folder).get("gpus_per_trial")
    return gpus


def images(config: RunConfig, progress: Progress) -> Prepared:
    """Decode the images of a run, or read them back from the cache.

    Raises:
        DataError: they cannot be read, or are not where the run looks for them.
    """
    root = config.data
    if root is None:
        root = cache_root() / "demo-images"
        if not is_written(root):
            # What stands there was left by a start that was interrupted.
            shutil.rmtree(root, ignore_errors=True)
            write_demo(root)
    elif not root.is_absolute() and not root.exists():
        raise DataError(
            "A relative path of images counts from the working directory",
            found=f"no {root} in {Path.cwd()}",
            remedy="Go to where the search was started, or write the whole path into the file that names it\n"
            "(run.toml, or for `train` the winner's).",
        )
    with progress.bar("decoding images") as advance:
        return prepare(root, image_size=config.image_size, seed=config.seed, progress=advance)


def starting_weights(config: RunConfig, progress: Progress) -> "ResolvedWeights | None":
    """The weights that the pretrained architecture starts from, said aloud; None for random ones."""
    if PRETRAINED not in config.arch:
        return None
    from tune_brain import weights

    resolved = weights.resolve(config.weights)
    warning = "" if resolved else ": its scores say nothing of a pretrained network"
    progress.say(f"{PRETRAINED} starts from {origin_of(resolved)}{warning}")
    return resolved


def origin_of(start: "ResolvedWeights | None") -> str:
    """What a record says of the weights that the pretrained architecture starts from."""
    return start.origin if start else RANDOM


def same_for_all(run: Run) -> dict[str, Any]:
    """What all trials of a run have in common, as plain values: none may be changed in its files."""
    return {
        "image_size": run.config.image_size,
        "ladder": list(run.config.ladder),
        "fixed": {arch: dict(own.fixed) for arch, own in run.spaces.items()},
        "baseline": {arch: dict(own.baseline) for arch, own in run.spaces.items()},
    }


def check_same(run: Run, prepared: Prepared, start: "ResolvedWeights | None") -> None:
    """Refuse images, weights or settings other than those that a run was made with.

    Raises:
        ConfigError: run.toml or a space file was changed by hand in what all trials have in common.
        DataError: the images, their cut or their order differ.
        WeightsError: the pretrained architecture would start from others.
    """
    record = read_json(run.folder / "record.json")
    now = same_for_all(run)
    for name, before in record.get("all_trials", {}).items():
        if now[name] != ({**now[name], **before} if isinstance(before, dict) else before):
            raise ConfigError(
                "What all trials of a run have in common is not changed in its files",
                found=f"{name} is {now[name]}, and was {before}",
                remedy="Bring run.toml and spaces/ back to what they were, or start a new run.",
            )
    check_digest(prepared, record["data"]["cut_digest"], str(run.folder))
    known = record["data"].get("order_digest")
    if known and known != prepared.summary["order_digest"]:
        raise DataError(
            "Image files keep their names during a run, since trials see them in their order",
            found="the same images in another order, or the test in other groups",
            remedy="Bring the names back to what they were, or start a new run.",
        )
    if PRETRAINED in record["precision"] and origin_of(start) != record["weights"]:
        raise WeightsError(
            f"{PRETRAINED} must start from the weights that {run.folder} was made with",
            found=f"{origin_of(start)} instead of {record['weights']}",
            remedy="Bring the file back to what it was, or start a new run.",
        )


def check_digest(prepared: Prepared, known: str, what: str) -> None:
    """Refuse images of another digest than the one `what` was made with.

    Raises:
        DataError: the digests differ.
    """
    found = prepared.summary["cut_digest"]
    if found != known:
        raise DataError(
            f"The images and their cut must be those that {what} was made with",
            found=f"digest {found[:12]} instead of {known[:12]}",
            remedy="Bring the folder and tune_brain back to what they were, or start a new run.",
        )


@contextmanager
def resume_hint(command: str) -> Iterator[None]:
    """Say how to go on when a stage is interrupted."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(
            "Interrupted; what is finished is kept", remedy=f"Go on with: tune-brain {command}"
        ) from None


@contextmanager
def rerun_hint(folder: Path, command: str) -> Iterator[None]:
    """The same where a run is asked for something else: before run.toml says so, it must be asked again."""
    before = (folder / "run.toml").stat().st_mtime_ns
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        if (folder / "run.toml").stat().st_mtime_ns == before:
            raise Interrupted(
                "Interrupted before anything was changed", remedy="Go on with the same command."
            ) from None
        with resume_hint(command):
            raise
