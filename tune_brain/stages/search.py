"""The search stage: start a new run or continue one, and write its studies for optuna-dashboard."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tune_brain import compute, lock, runs
from tune_brain.config import PRETRAINED, Precision, RunConfig, check_precision
from tune_brain.data.audited import audited
from tune_brain.data.describe import describe
from tune_brain.data.prepare import Prepared
from tune_brain.errors import RunFolderError, WeightsError
from tune_brain.evaluate.winners import choose, write_winners
from tune_brain.files import read_json, write_json, writing_run
from tune_brain.layout import LOG, RECORD, SEAL
from tune_brain.progress import Progress
from tune_brain.records import by_arch, trials_of
from tune_brain.runs import Run
from tune_brain.search.chance import caution, no_better_than_constant
from tune_brain.search.ladder import cycle
from tune_brain.search.run import search as run_search
from tune_brain.search.sampler import write_journal
from tune_brain.slots import Slots
from tune_brain.stages.common import (
    check_same,
    gpus_of,
    images,
    origin_of,
    resume_hint,
    same_for_all,
    starting_weights,
)
from tune_brain.stages.preconditions import check_ranges, unfinished
from tune_brain.stages.warm import spaces_to_search
from tune_brain.text import quoted
from tune_brain.train.precision import faster_precision, slow_on_this_cpu

if TYPE_CHECKING:
    from tune_brain.weights import ResolvedWeights


def search(config: RunConfig) -> Path:
    """Create a run and search its spaces; returns its folder, which then holds rows and winners.

    Spaces, images, weights and machines are checked before the run is created.
    """
    progress = Progress()
    runs.check_new(config.out)
    spaces = spaces_to_search(config)
    for arch in config.arch:
        check_precision(arch, config.image_size, config.precision)
    if config.data is not None:
        with progress.bar("auditing images") as advance:
            facts = audited(config.data, advance)
        for line in facts["summary"]:
            progress.say(f"audit: {line}")
    prepared = images(config, progress)
    for line in describe(prepared.summary):
        progress.say(line)
    if config.data is None and PRETRAINED in config.arch and config.weights == "imagenet":
        config = _reachable_weights(config)
    start = starting_weights(config, progress)
    with compute.session(config) as ray:
        slots = ray.slots()
        with writing_run(config.out):
            config.out.mkdir(parents=True, exist_ok=True)
        with lock.hold(config.out), resume_hint(f"resume {quoted(config.out)}"):
            # Another search may have created a run there while this one decoded its images.
            runs.check_new(config.out)
            run = runs.create(config, spaces)
            for arch, space in spaces.items() if config.warm_start else ():
                progress.say(f"{arch}: starts with {len(space.first)} configurations of {config.warm_start}")
            return _search(run, prepared, start, slots, progress)


def search_on(run: Run, ray: compute.Session) -> Path:
    """Continue a search where its rows end, as `run` now asks; returns the run's folder.

    The caller holds the run's lock. run.toml is written once images, weights and machines have been checked.

    Args:
        run: the run, with its possibly changed configuration and spaces.
        ray: the open session.
    """
    progress = Progress()
    progress.say(f"resuming {run.folder}")
    prepared = images(run.config, progress)
    start = starting_weights(run.config, progress)
    if (run.folder / RECORD).exists():
        check_same(run, prepared, start)
    elif trials_of(run.folder):
        raise RunFolderError(
            "The record of a run names the images of its trials, without which it cannot be continued",
            found=f"no {run.folder / RECORD}",
            remedy="Restore it from a copy of the run, or start a new one.",
        )
    check_ranges(run)
    if unfinished(run):
        _check_cycles(run)
    slots = ray.slots(gpus_of(run))
    runs.create(run.config, run.spaces)
    if unfinished(run):
        # The winners of the shorter search must not be taken for those of the longer one.
        with writing_run(run.folder):
            for arch in run.config.arch:
                runs.winner_file(run.folder, arch).unlink(missing_ok=True)
    return _search(run, prepared, start, slots, progress)


def _check_cycles(run: Run) -> None:
    """Refuse to compare the shortest trials of version 0.3, which were complete cycles, with today's."""
    if any(row.cycle != cycle(row.epochs, run.config.full_length) for row in trials_of(run.folder)):
        raise RunFolderError(
            "All scores of a rung must come from the same one-cycle, complete or its beginning",
            found=f"{run.folder} began with another version, whose shortest trials were complete cycles",
            remedy="Continue it with that version, or start a new run.",
        )


def write_studies(folder: Path, journal: Path) -> Path:
    """Write the studies of a run as an Optuna journal for optuna-dashboard; returns its path.

    Raises:
        ConfigError: the file exists, or a space file was edited so that it lacks a trained configuration.
        RunFolderError: there is no run in the folder, or its rows are damaged.
    """
    run = runs.open_run(folder)
    check_ranges(run)
    rows = by_arch(trials_of(folder), run.config.arch)
    choices = {arch: choose(of_arch, run.config.full_length) for arch, of_arch in rows.items()}
    winners = {arch: choice.row.configuration for arch, choice in choices.items() if choice}
    write_journal(journal, rows, run.spaces, run.config.full_length, winners)
    return journal


def _search(
    run: Run, prepared: Prepared, start: "ResolvedWeights | None", slots: Slots, progress: Progress
) -> Path:
    progress.log_to(run.folder / LOG)
    precision = _record(run, prepared, start, slots, progress)
    arithmetic = ", ".join(f"{arch} in {chosen}" for arch, chosen in precision.items())
    progress.say(f"{slots.count} trials at a time on {'GPUs' if slots.gpus else 'CPUs'}; {arithmetic}")
    development, state = prepared.development(), start.state if start else None
    run_search(run.config, run.spaces, development, state, precision, slots, progress)
    rows = trials_of(run.folder)
    if not ((run.folder / SEAL).exists() and runs.has_winners(run.config)):
        # Winners that have met the test stay, even if a later version would choose others.
        write_winners(run, rows, prepared, precision, progress)
    counts = prepared.summary["counts"]["validation"]
    if archs := no_better_than_constant(rows, run.config, counts):
        progress.say(caution(archs, counts))
    return run.folder


def _record(
    run: Run, prepared: Prepared, start: "ResolvedWeights | None", slots: Slots, progress: Progress
) -> dict[str, Precision]:
    """Create or update the run's record; returns the precision of each architecture."""
    path = run.folder / RECORD
    if path.exists():
        record = read_json(path)
        record["resumed"] = [*record.get("resumed", []), time.time()]
        for change in runs.changes_since(record):
            progress.say(f"{change}: trials from here on may differ in their last digits")
        # Asked only after a move, since the answer waits for torch.
        moved = run.config.address is None and (
            record.get("gpus_per_trial") or record["machine"]["processor"] != runs.processor()
        )
        if moved and not slots.gpus and (slow := slow_on_this_cpu(record["precision"])):
            progress.say(slow)
    else:
        record = runs.origin() | {"data": prepared.summary, "weights": origin_of(None), "precision": {}}
    added = [arch for arch in run.config.arch if arch not in record["precision"]]
    record["precision"] |= _precision(run.config, added, prepared, slots)
    if PRETRAINED in added:
        record["weights"] = origin_of(start)
    record["all_trials"] = same_for_all(run)
    record |= {"slots": slots.count, "gpus_per_trial": slots.gpus}
    write_json(path, record)
    precision: dict[str, Precision] = record["precision"]
    return precision


def _reachable_weights(config: RunConfig) -> RunConfig:
    """The configuration of a demo, with random weights if the pretrained ones cannot be had.

    `starting_weights` announces which it uses.
    """
    from tune_brain import weights

    try:
        weights.resolve(config.weights)
    except WeightsError:
        return config.model_copy(update={"weights": "none"})
    return config


def _precision(
    config: RunConfig, archs: Sequence[str], prepared: Prepared, slots: Slots
) -> dict[str, Precision]:
    """The precision of each of these architectures: the one asked for, or the faster one as measured."""
    if config.precision != "auto":
        return dict.fromkeys(archs, config.precision)
    kind = "cuda" if slots.gpus else "cpu"
    jobs = [(arch, config.image_size, len(prepared.classes), kind) for arch in archs]
    if slots.gpus or config.address:
        # Measured on a machine that trains, which the driver's may not be, in a process that frees its GPU.
        measured = compute.each(faster_precision, jobs, replace(slots, limit=1))
        return {archs[index]: chosen for index, chosen in measured}
    return {job[0]: faster_precision(*job) for job in jobs}
