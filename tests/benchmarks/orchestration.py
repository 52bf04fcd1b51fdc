"""The overhead of a trial: trials that do nothing for 12 epochs.

    python tests/benchmarks/orchestration.py [--quick] [--long]

Our search against OptunaSearch as Ray ships it, with reused workers and with a plain function trainable, with
two slots each: milliseconds per trial from the call of `fit` to its return. Reused workers report each epoch,
as a plain trainable does, and in another arm all epochs at once, as ours do when epochs take no time; in a
search of longer epochs ours report each one too. All arms search one study of 500. --long searches
5,000 configurations on the default ladder and compares the last tenth of the trials with the first.
"""

import itertools
import math
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from tune_brain import compute
from tune_brain.config import ARCHITECTURES, RunConfig
from tune_brain.data.arrays import Development, Images
from tune_brain.progress import Progress
from tune_brain.records import TrialRow, trials_of
from tune_brain.search import run
from tune_brain.slots import Slots
from tune_brain.space import Space

EPOCHS = 12
TUNED = {
    "max_lr": {"low": 1e-5, "high": 1e-1},
    "weight_decay": {"low": 1e-6, "high": 1e-1},
    "grad_clip": {"low": 1e-2, "high": 1e1},
}
METRICS = dict.fromkeys(
    ("train_loss", "train_accuracy", "train_macro_f1", "val_loss", "val_accuracy", "lr", "grad_norm"), 0.5
)


def score(max_lr: float) -> float:
    """A synthetic score with its optimum at 1e-3."""
    return 1 / (1 + (math.log10(max_lr) + 3) ** 2)


class Idle(tune.Trainable):
    """Reports as `TrialWorker` does; its epochs take no time, so they come in a single result."""

    def setup(self, config: dict[str, Any], **_: Any) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        trial = new_config["trial"]
        metrics = {**METRICS, "clipped_share": 0.5, "seconds": 0.0}
        metrics["val_macro_f1"] = score(trial["hyperparameters"]["max_lr"])
        self._rows = [{**metrics, "epoch": epoch} for epoch in range(1, trial["epochs"] + 1)]
        return True

    def step(self) -> dict[str, Any]:
        return {"rows": self._rows, "done": True, "why": "finished", "detail": "", "device": "cpu"}


class Reused(tune.Trainable):
    """The same trial as a class trainable for stock OptunaSearch."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._value = score(new_config["max_lr"])
        self._epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        self._epoch += 1
        return {**METRICS, "epoch": self._epoch, "score": self._value, "done": self._epoch == EPOCHS}


class ReportingOnce(Reused):
    """The same trial, of which only the last epoch is reported."""

    def step(self) -> dict[str, Any]:
        self._epoch = EPOCHS - 1
        return super().step()


def function(config: dict[str, Any]) -> None:
    """The same trial as a plain function trainable."""
    for epoch in range(1, EPOCHS + 1):
        tune.report({**METRICS, "epoch": epoch, "score": score(config["max_lr"])})


def ours(
    trials: int, slots: Slots, archs: Sequence[str], ladder: tuple[int, ...] = (EPOCHS,)
) -> tuple[float, list[TrialRow]]:
    """Seconds of our search over at least this many trials, and its rows."""
    out = Path(tempfile.mkdtemp())
    small = {"ladder": ladder, "final_round": (0, 0), "image_size": 16}
    config = RunConfig(out=out, arch=tuple(archs), configs=trials // len(archs), **small)
    spaces = {
        arch: Space.model_validate(
            {"arch": arch, "fixed": {}, "tuned": TUNED, "baseline": dict.fromkeys(TUNED, 0.01)}
        )
        for arch in archs
    }
    images = Images(
        pixels=np.zeros((2, 1, 16, 16), np.uint8),
        labels=np.zeros(2, np.int64),
        thumbnails=np.zeros((2, 32, 32), np.uint8),
    )
    development = Development(classes=("a", "b"), train=images, validation=images)
    progress = Progress()
    progress.log_to(out / "run.log")
    progress._console.quiet = True
    started = time.perf_counter()
    run.search(config, spaces, development, None, dict.fromkeys(archs, "fp32"), slots, progress)
    seconds = time.perf_counter() - started
    rows = trials_of(out)
    # The search removes Tune's folders in a thread of its own, which must not slow the next arm down.
    for thread in threading.enumerate():
        if thread.name == "tune-brain-scratch":
            thread.join()
    shutil.rmtree(out)
    return seconds, rows


def stock(trainable: Any, trials: int, *, reuse: bool) -> float:
    """Seconds of as many trials with OptunaSearch and Ray Tune's defaults."""
    storage = tempfile.mkdtemp()
    space = {name: tune.loguniform(limits["low"], limits["high"]) for name, limits in TUNED.items()}
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=trials,
            search_alg=OptunaSearch(seed=0),
            reuse_actors=reuse,
        ),
        run_config=tune.RunConfig(
            storage_path=storage,
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    started = time.perf_counter()
    tuner.fit()
    seconds = time.perf_counter() - started
    shutil.rmtree(storage)
    return seconds


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument(
        "--long", action="store_true", help="search 5,000 configurations: does the cost grow?"
    )
    args = options.parse_args()
    trials, few, repeats = (100, 8, 1) if args.quick else (500, 20, args.repeats)
    run.TrialWorker = Idle  # type: ignore[misc]
    with compute.session(RunConfig(out=Path("unused"), concurrency=2)) as session:
        slots = session.slots()
        if args.long:
            growth(500 if args.quick else 5000, repeats, slots, quick=args.quick)
            return
        arms = {
            "ours": lambda: 1e3 * ours(trials, slots, ARCHITECTURES[:1])[0] / trials,
            "stock, reused workers": lambda: 1e3 * stock(Reused, trials, reuse=True) / trials,
            "stock, reporting once": lambda: 1e3 * stock(ReportingOnce, trials, reuse=True) / trials,
            "stock, function": lambda: 1e3 * stock(function, few, reuse=False) / few,
        }
        values = measure.alternate(arms, repeats)
    result = {f"{name}: ms a trial": measure.spread(every) for name, every in values.items()}
    result |= {
        f"{name} / ours": measure.ratio(values[name], values["ours"]) for name in values if name != "ours"
    }
    measure.report("orchestration", {"trials": trials, **result}, quick=args.quick)


def growth(trials: int, repeats: int, slots: Slots, *, quick: bool) -> None:
    """Measure milliseconds per trial at the start and at the end of a long search on the default ladder."""
    firsts, lasts, counts = [], [], []
    for _ in range(repeats):
        rows = ours(trials, slots, ARCHITECTURES, RunConfig.model_fields["ladder"].default)[1]
        starts = sorted(row.started for row in rows)
        gaps = [1e3 * (later - former) for former, later in itertools.pairwise(starts)]
        share = len(starts) // 10
        # Skips the first trials, which wait for the workers to start.
        firsts.append(statistics.mean(gaps[10:share]))
        lasts.append(statistics.mean(gaps[-share:]))
        counts.append(float(len(rows)))
    result = {
        "trials": measure.spread(counts),
        "first tenth: ms a trial": measure.spread(firsts),
        "last tenth: ms a trial": measure.spread(lasts),
        "last / first": measure.ratio(lasts, firsts),
    }
    measure.report("orchestration-long", result, quick=quick)


if __name__ == "__main__":
    main()
