"""All studies of a run as one Ray experiment."""

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from ray import tune

from tune_brain import __version__
from tune_brain.cluster import versions
from tune_brain.compute import storing
from tune_brain.config import Precision, RunConfig
from tune_brain.data.arrays import Development
from tune_brain.errors import ClusterError, SearchError, TuneBrainError
from tune_brain.layout import CHECKPOINTS
from tune_brain.progress import Progress
from tune_brain.records import TrialRow
from tune_brain.runs import read_record
from tune_brain.search.display import end_line, studies_table, trial_line
from tune_brain.search.ladder import remedy, unfinished
from tune_brain.search.ledger import Ledger
from tune_brain.search.searcher import RowSearcher
from tune_brain.search.study import Study, is_tried_again
from tune_brain.search.trainable import TrialWorker
from tune_brain.search.workers import ArrivalOrderScheduler, Machines, Workers, memory_ends_one_worker
from tune_brain.slots import Slots
from tune_brain.space import Space
from tune_brain.text import quoted

# Ray Tune's loggers and snapshots would be a second record beside the rows, and its handling of Ctrl-C waits
# for running epochs to save a state that nobody reads.
_TUNE_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    # Otherwise Tune restarts a preempted trial itself, without telling the searcher.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    # The searcher alone limits how many trials wait for a worker; Tune would start workers one by one.
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
}
# The keys that Tune 2.60 passes on to workers.
_KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}


def search(
    config: RunConfig,
    spaces: Mapping[str, Space],
    development: Development,
    weights: Mapping[str, Any] | None,
    precision: Mapping[str, Precision],
    slots: Slots,
    progress: Progress,
) -> None:
    """Run the studies of `config` until each has finished, continuing from the rows in its folder.

    Inside `compute.session`. Rows are written to `config.out` as they come.

    Raises:
        SearchError: no full-length trial completed.
        ClusterError: worker after worker was lost, or the images do not fit into Ray's object store.
    """
    ledger = Ledger(config.out)
    checkpoints = config.out.absolute() / CHECKPOINTS
    machines, since = Machines(slots, progress.say), time.time()

    def on_end(row: TrialRow) -> None:
        progress.say(trial_line(row, config, ledger, machines.slots().count, since))
        forget(checkpoints, row)
        if config.until_converged and (end := end_line(row, ledger.study(row.arch).rows, config.ladder[0])):
            progress.say(end)

    searcher = RowSearcher(
        config,
        spaces,
        ledger,
        classes=len(development.classes),
        precision=precision,
        slots=machines.slots,
        on_end=on_end,
    )
    shared = {
        "weights": weights,
        "checkpoints": checkpoints,
        "disk_budget": int(config.disk_budget),
        "made_with": _made_with(config.out),
        "versions_of_driver": versions(),
        "gpus": slots.gpus,
    }
    with storing():
        trainable = tune.with_parameters(TrialWorker, development=development, **shared)
    worker = tune.with_resources(
        trainable,
        lambda task: tune.PlacementGroupFactory([slots.resources(task["slots"])]),
    )
    if unused := slots.unused():
        progress.say(
            f"{unused} machines have too few GPUs and are not used; --gpus-per-trial 0 trains on CPUs"
        )
    table = partial(studies_table, config, ledger, since=since)
    with progress.table(lambda: table(machines.slots().count)), _without_keys():
        _fit(worker, searcher, progress, config.out, slots.gpus)
    clear(checkpoints, [ledger.study(arch) for arch in config.arch])
    rows = list(ledger.trials.values())
    if not any(row.score is not None and row.epochs == config.full_length for row in rows):
        raise SearchError(
            "No full-length trial completed",
            found=_failures(ledger),
            remedy=f"The time budget was spent: tune-brain extend {quoted(config.out)} --time-budget 4h"
            if unfinished(rows, config)
            else remedy(rows),
        )


def forget(checkpoints: Path, row: TrialRow) -> None:
    """Remove the checkpoint of a trial that failed for good, whose worker may have been killed too early to.

    Lost and raised trials keep theirs: they may be retried when the search is resumed.
    """
    if row.state != "failed" or row.why in ("lost", "raised") or is_tried_again(row):
        return
    for file in checkpoints.glob(f"{row.trial}.*"):
        with contextlib.suppress(OSError):
            file.unlink()


def clear(checkpoints: Path, studies: Sequence[Study]) -> None:
    """Remove all checkpoints of a search that has ended, unless a trial is still to be retried.

    One may be if the time budget was spent before a lost trial could start again.
    """
    if not any(study.unsettled for study in studies):
        shutil.rmtree(checkpoints, ignore_errors=True)


def _made_with(run: Path) -> str:
    """What decides a trial beside its configuration: images and split, initial weights, this version."""
    if not (record := read_record(run)):
        return __version__
    return " | ".join((record["data"]["cut_digest"], record["weights"], __version__))


def _failures(ledger: Ledger) -> str:
    failed = [row for row in ledger.trials.values() if row.state == "failed"]
    return "; ".join(sorted({f"{row.arch}: {row.why}: {row.detail}" for row in failed})) or "no trial"


@contextlib.contextmanager
def _without_keys() -> Iterator[None]:
    """Keep cloud keys out of the environment that Tune passes to every worker of the cluster."""
    keys = {name: os.environ.pop(name) for name in _KEYS & os.environ.keys()}
    try:
        yield
    finally:
        os.environ.update(keys)


@memory_ends_one_worker()
def _fit(worker: Any, searcher: RowSearcher, progress: Progress, folder: Path, gpus: float) -> None:
    # Lost trials are rows and lost searches errors of ours: Tune's own messages would only repeat them.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    workers = Workers(searcher, progress.say, gpus)
    os.environ.update(_TUNE_ENVIRONMENT)
    scratch = tempfile.mkdtemp(prefix="tune-brain-")
    tuner = tune.Tuner(
        worker,
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=ArrivalOrderScheduler(searcher), num_samples=-1, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            storage_path=scratch,
            name="search",
            verbose=0,
            callbacks=[workers],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        # Ray prints a paragraph for each worker that dies; our log has one line for it.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
            tuner.fit()
    except Exception as error:
        # Tune raises its own error in place of what the searcher, or a full disk, raised.
        if searcher.broken:
            raise searcher.broken from None
        if isinstance(error.__context__, TuneBrainError | OSError):
            raise error.__context__ from None
        raise
    finally:
        # It has a folder for each trial, and some disks take milliseconds to remove one. What comes next need
        # not wait for that; the end of the process does.
        Thread(target=shutil.rmtree, args=(scratch, True), name="tune-brain-scratch").start()
    if searcher.workers.all_lost:
        lost = len(searcher.workers.lost_in_a_row)
        raise ClusterError(
            "Every worker died, so the search was ended",
            found=f"{lost} trials in a row were lost with their workers: {workers.last_loss}",
            remedy="Finished trials are kept. Once the cause is gone, continue with:\n"
            f"tune-brain resume {quoted(folder)}",
        )
