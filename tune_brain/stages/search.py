"""The search stage: a new run, or one that goes on; Optuna's view of it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tune_brain import compute, lock, runs
from tune_brain.config import PRETRAINED, Precision, RunConfig, check_precision
from tune_brain.data.audited import audited
from tune_brain.data.describe import describe
from tune_brain.data.prepare import Prepared
from tune_brain.errors import WeightsError
from tune_brain.evaluate.winners import write_winners
from tune_brain.progress import Progress
from tune_brain.records import TrialRow, latest, read, read_json, write_json
from tune_brain.runs import Run
from tune_brain.search.run import search as run_search
from tune_brain.search.sampler import write_journal
from tune_brain.stages.common import check_cut, going_on, images, starting_weights
from tune_brain.stages.warm import spaces_to_search
from tune_brain.train.precision import choose

if TYPE_CHECKING:
    from tune_brain.weights import ResolvedWeights


def search(config: RunConfig) -> Path:
    """Make a new run and search its spaces; returns its folder, with rows and winners in it.

    Everything that can be refused is refused before there is a folder: spaces, images, weights.
    """
    progress = Progress()
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
    run = runs.create(config, spaces)
    for arch, space in spaces.items() if config.warm_start else ():
        progress.say(f"{arch}: begins with {len(space.first)} configurations of {config.warm_start}")
    return _search(run, prepared, start, progress)


def resume(folder: Path) -> Path:
    """Go on with a search where its rows end; returns the run's folder."""
    run = runs.open_run(folder)
    progress = Progress()
    progress.say(f"resuming {folder}")
    prepared = images(run.config, progress)
    return _search(run, prepared, starting_weights(run.config, progress), progress)


def write_studies(folder: Path, journal: Path) -> Path:
    """Write the studies of a run as an Optuna journal, which optuna-dashboard opens; returns its path."""
    run = runs.open_run(folder)
    rows = latest(read(folder / "trials.jsonl", TrialRow))
    by_arch = {arch: [row for row in rows if row.arch == arch] for arch in run.config.arch}
    write_journal(journal, by_arch, run.spaces, run.config.epochs)
    return journal


def _search(run: Run, prepared: Prepared, start: "ResolvedWeights | None", progress: Progress) -> Path:
    config, record = run.config, run.folder / "record.json"
    progress.log_to(run.folder / "run.log")
    if record.exists():
        check_cut(run, prepared)
    with lock.hold(run.folder), going_on(f"resume {run.folder}"), compute.session(config) as ray:
        slots = ray.slots()
        if not record.exists():
            made = {
                "data": prepared.summary,
                "weights": start.origin if start else "random weights",
                "precision": _precision(config, prepared, slots),
                "slots": slots.count,
            }
            write_json(record, runs.origin() | made)
        kept = read_json(record)
        for change in runs.changes_since(kept):
            progress.say(f"{change}: what is trained from here on may differ in its last digits")
        if added := [arch for arch in config.arch if arch not in kept["precision"]]:
            more = config.model_copy(update={"arch": tuple(added)})
            kept["precision"] |= _precision(more, prepared, slots)
            write_json(record, kept)
        precision = kept["precision"]
        told = ", ".join(f"{arch} in {chosen}" for arch, chosen in precision.items())
        progress.say(f"{slots.count} trials at a time; {told}")
        development, state = prepared.development(), start.state if start else None
        run_search(config, run.spaces, development, state, precision, slots, progress)
    rows = latest(read(run.folder / "trials.jsonl", TrialRow))
    write_winners(run, rows, prepared, precision, progress)
    return run.folder


def _reachable_weights(config: RunConfig) -> RunConfig:
    """A demo goes on without pretrained weights where they cannot be had; `_search` says so aloud."""
    from tune_brain import weights

    try:
        weights.resolve(config.weights)
    except WeightsError:
        return config.model_copy(update={"weights": "none"})
    return config


def _precision(config: RunConfig, prepared: Prepared, slots: compute.Slots) -> dict[str, Precision]:
    if config.precision != "auto":
        return dict.fromkeys(config.arch, config.precision)
    kind = "cuda" if slots.gpus else "cpu"
    jobs = [(arch, config.image_size, len(prepared.classes), kind) for arch in config.arch]
    if config.address and slots.gpus:
        # On a machine with GPUs, which the driver's need not have.
        measured = compute.each(choose, jobs, replace(slots, count=1))
        return {config.arch[index]: chosen for index, chosen in measured}
    return {job[0]: choose(*job) for job in jobs}
