"""A search whose trials sleep instead of training, and record when they began and ended.

    python tests/cluster/sleepers.py FOLDER ADDRESS CONFIGS SECONDS [GPUS]

runs its driver on a cluster. Each of the four architectures gets CONFIGS configurations; their epochs take 1,
2, 3 and 4 times SECONDS.
"""

import math
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ray import tune

from tune_brain import compute
from tune_brain.config import ARCHITECTURES, RunConfig
from tune_brain.data.arrays import Development, Images
from tune_brain.progress import Progress
from tune_brain.records import EpochRow, trials_of
from tune_brain.search import run
from tune_brain.slots import Slots
from tune_brain.space import Space

TUNED = {"max_lr": {"low": 1e-5, "high": 1e-1}}
FIXED = {"weight_decay": 0.0, "grad_clip": 1.0}
METRICS = {name: 0.5 for name in EpochRow.model_fields if name not in ("trial", "arch", "epoch")}


class Slept(NamedTuple):
    """When a trial slept, in Unix seconds."""

    begun: float
    ended: float
    waited: float
    """Seconds since the previous trial of its worker ended; 0 for the first one."""
    node: str
    arch: str


class Sleeper(tune.Trainable):
    """Reports as `TrialWorker` does; takes the seconds per epoch of each architecture as its weights."""

    def setup(
        self, config: dict[str, Any], weights: dict[str, float], development: Development, **_: Any
    ) -> None:
        assert not development.train.thumbnails.any()
        self._pace, self._ended = weights, 0.0
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._trial, self._epoch, self._begun, self._threads = new_config["trial"], 0, time.time(), 1
        self._waited = self._begun - self._ended if self._ended else 0.0
        return True

    def use_threads(self, count: int) -> None:
        self._threads = count

    def step(self) -> dict[str, Any]:
        # Like a trained trial, it reports epochs of seconds one by one and shorter ones together.
        pace = self._pace[self._trial["arch"]]
        count = min(self._trial["epochs"] - self._epoch, max(1, int(1 / pace)))
        time.sleep(pace * count)
        value = 1 / (1 + (math.log10(self._trial["hyperparameters"]["max_lr"]) + 3) ** 2)
        # No row has a field for the threads.
        row = {**METRICS, "val_macro_f1": value, "train_loss": self._threads}
        rows = [{**row, "epoch": self._epoch + index + 1} for index in range(count)]
        self._epoch += count
        self._ended = time.time()
        times = f"{self._begun} {self._ended} {self._waited}"
        end = {"done": self._epoch == self._trial["epochs"], "why": "finished", "detail": times}
        return {"rows": rows, "device": "cpu", **end}


def asked(folder: Path, **more: Any) -> RunConfig:
    """The configuration of the search."""
    return RunConfig.model_validate({"out": folder, "image_size": 16, "final_round": (0, 0), **more})


def search(config: RunConfig, slots: Slots, seconds: float, images: int = 2) -> None:
    """Search with trials that sleep, on this many black images."""
    spaces = {
        arch: Space.model_validate(
            {"arch": arch, "fixed": FIXED, "tuned": TUNED, "baseline": {"max_lr": 1e-3}}
        )
        for arch in config.arch
    }
    black = Images(
        pixels=np.zeros((images, 1, 16, 16), np.uint8),
        labels=np.zeros(images, np.int64),
        thumbnails=np.zeros((images, 32, 32), np.uint8),
    )
    development = Development(classes=("a", "b"), train=black, validation=black)
    pace = {arch: seconds * (number + 1) for number, arch in enumerate(ARCHITECTURES)}
    run.TrialWorker = Sleeper  # type: ignore[misc]
    progress = Progress()
    progress.log_to(config.out / "run.log")
    progress._console.quiet = True
    precision = dict.fromkeys(config.arch, "fp32")
    run.search(config, spaces, development, pace, precision, slots, progress)


def slept(folder: Path) -> list[Slept]:
    """The completed trials of a search, ordered by number."""
    rows = trials_of(folder)
    completed = [row for row in rows if row.state == "completed"]
    return [Slept(*map(float, row.detail.split()), row.node, row.arch) for row in completed]


def busy(trials: list[Slept], slots: int, share: float = 0.9) -> float:
    """The fraction of slot time in which trials slept, over the first `share` of the search."""
    start = min(trial.begun for trial in trials)
    end = start + share * (max(trial.ended for trial in trials) - start)
    spent = sum(max(0.0, min(trial.ended, end) - trial.begun) for trial in trials)
    return spent / (slots * (end - start))


def most_at_once(trials: list[Slept]) -> dict[str, int]:
    """The largest number of trials that slept at the same time on each machine."""
    most: dict[str, int] = {}
    for node in {trial.node for trial in trials}:
        here = [trial for trial in trials if trial.node == node]
        most[node] = max(sum(other.begun <= trial.begun < other.ended for other in here) for trial in here)
    return most


def main() -> None:
    folder, address, configs, seconds, *gpus = sys.argv[1:]
    share = float(gpus[0]) if gpus else 0.0
    config = asked(Path(folder), address=address, configs=int(configs), gpus_per_trial=share)
    with compute.session(config) as session:
        search(config, session.slots(), float(seconds))


if __name__ == "__main__":
    main()
