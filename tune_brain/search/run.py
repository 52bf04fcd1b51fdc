"""All studies of a run as one Ray experiment."""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from tune_brain import __version__
from tune_brain.compute import storing
from tune_brain.config import Precision, RunConfig
from tune_brain.data.arrays import Development
from tune_brain.errors import ClusterError, SearchError, TuneBrainError
from tune_brain.progress import Progress
from tune_brain.records import CHECKPOINTS, TrialRow
from tune_brain.runs import read_record
from tune_brain.search.display import end_line, studies_table, trial_line
from tune_brain.search.ladder import unfinished, what_then
from tune_brain.search.ledger import Ledger
from tune_brain.search.searcher import RowSearcher
from tune_brain.search.study import Study, is_tried_again
from tune_brain.search.trainable import TrialWorker
from tune_brain.search.workers import ArrivalOrderScheduler, Machines, Workers, memory_ends_one_worker
from tune_brain.slots import Slots
from tune_brain.space import Space
from tune_brain.text import quoted

# Ray Tune's own loggers and snapshots would write a second truth beside the rows, and its answer to Ctrl-C
# waits for epochs to end so that it can save a state that nobody reads.
_TUNE_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    # Else Tune starts a preempted trial again by itself, which the searcher would not hear of.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    # The searcher alone says how many trials wait for a worker; Tune would start them one after another.
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
# Those that Tune 2.60 takes along.
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
    """Run the studies of `config` until each has finished; go on where the rows in its folder end.

    Inside `compute.session`. Rows are written to `config.out` as they come.

    Raises:
        SearchError: no trial ended well at full length.
        ClusterError: one worker after another was lost, or there is no room for the images.
    """
    ledger = Ledger(config.out)
    checkpoints = config.out.absolute() / CHECKPOINTS
    machines = Machines(slots, progress.say)

    def on_end(row: TrialRow) -> None:
        progress.say(trial_line(row, config, ledger, machines.slots().count))
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
    given = {
        "weights": weights,
        "checkpoints": checkpoints,
        "disk_budget": int(config.disk_budget),
        "made_with": _made_with(config.out),
    }
    with storing():
        trainable = tune.with_parameters(TrialWorker, development=development, **given)
    worker = tune.with_resources(
        trainable,
        lambda asked: tune.PlacementGroupFactory([slots.resources(asked["room"])]),
    )
    if unused := slots.unused():
        progress.say(
            f"{unused} machines have too few GPUs and are not used; --gpus-per-trial 0 trains on CPUs"
        )
    with progress.table(lambda: studies_table(config, ledger, machines.slots().count)), _without_keys():
        _fit(worker, searcher, progress, config.out, slots.gpus)
    clear(checkpoints, [ledger.study(arch) for arch in config.arch])
    rows = list(ledger.trials.values())
    if not any(row.score is not None and row.epochs == config.epochs for row in rows):
        raise SearchError(
            "A search needs at least one full-length trial that ends well",
            found=_endings(ledger),
            remedy=f"Its time was up. Give it more: tune-brain extend {quoted(config.out)} --time-budget 4h"
            if unfinished(rows, config)
            else what_then(rows),
        )


def forget(checkpoints: Path, row: TrialRow) -> None:
    """Remove what a trial that failed for good has left, as where its worker was killed and could not.

    Not what was lost or raised: where no worker could live it is tried again when the search goes on.
    """
    if row.state != "failed" or row.why in ("lost", "raised") or is_tried_again(row):
        return
    for file in checkpoints.glob(f"{row.trial}.*"):
        with contextlib.suppress(OSError):
            file.unlink()


def clear(checkpoints: Path, studies: Sequence[Study]) -> None:
    """Remove all checkpoints of a search that has ended, unless a trial is left to go on with.

    As where its time was over before what was lost could be started again.
    """
    if not any(study.unsettled for study in studies):
        shutil.rmtree(checkpoints, ignore_errors=True)


def _made_with(run: Path) -> str:
    """What decides a trial beside its configuration: the images and their cut, first weights, our version."""
    if not (made := read_record(run)):
        return __version__
    return " | ".join((made["data"]["cut_digest"], made["weights"], __version__))


def _endings(ledger: Ledger) -> str:
    ended = [row for row in ledger.trials.values() if row.state == "failed"]
    endings = {f"{row.arch}: {row.why}: {row.detail}" for row in ended}
    return "; ".join(sorted(endings)) or "no trial"


@contextlib.contextmanager
def _without_keys() -> Iterator[None]:
    """Keep the keys of a cloud out of what Tune hands to every worker, where all of a cluster can read it."""
    kept = {name: os.environ.pop(name) for name in _KEYS & os.environ.keys()}
    try:
        yield
    finally:
        os.environ.update(kept)


@memory_ends_one_worker()
def _fit(worker: Any, searcher: RowSearcher, progress: Progress, folder: Path, gpus: float) -> None:
    # A trial that is lost is a row, and a search that is lost an error of ours.
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
        # There Ray prints a paragraph for each worker that dies, of which we say a line.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
            tuner.fit()
    except Exception as error:
        # Tune says its own instead of what the searcher, or a full disk, raised.
        if searcher.broken:
            raise searcher.broken from None
        if isinstance(error.__context__, TuneBrainError | OSError):
            raise error.__context__ from None
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if searcher.crew.all_lost:
        lost = len(searcher.crew.lost_in_a_row)
        raise ClusterError(
            "The workers of a search must live",
            found=f"{lost} trials in a row were lost with theirs: {workers.last_loss}",
            remedy="What ended is kept. When the cause is gone, go on with:\n"
            f"tune-brain resume {quoted(folder)}",
        )
