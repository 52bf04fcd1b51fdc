"""Fails if speed is grossly lost: below half of the ratios that the other benchmarks have to reach.

    python tests/benchmarks/regression.py

Ratios within one run on the built-in demo images. Where only this process works they are of CPU seconds, so
that a busy machine does not fail the check. Exit code 1 names what was lost.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import input as inputs
import orchestration
import steps
import throughput
import torch

from tune_brain import compute
from tune_brain.config import ARCHITECTURES, RunConfig
from tune_brain.data.demo import write_demo
from tune_brain.data.prepare import prepare
from tune_brain.portable.networks import CPU
from tune_brain.search import run
from tune_brain.search.checkpoints import CheckpointKeeper
from tune_brain.search.trial import rows
from tune_brain.train import timing
from tune_brain.train.process import make_ready

TRIALS = 100


def input_gain(data: Path) -> float:
    """Images per second of our batches over those of ImageFolder."""
    prepared = prepare(data, image_size=inputs.SIZE, seed=0)
    with patch("time.perf_counter", time.process_time):
        count, seconds = inputs.plain(data, 100)
        return inputs.ours(prepared.development().train.pixels, 20) / (count / seconds)


def trial_share(data: Path) -> float:
    """Images per second of a trial over those of the bare training loop."""
    development = prepare(data, image_size=throughput.SIZE, seed=0).development()
    epochs = 12
    make_ready()
    keeper = CheckpointKeeper(data / "checkpoints", 0)
    values = {**throughput.FIXED, "max_lr": 1e-3}
    trial = {"arch": "linear", "epochs": epochs, "image_size": throughput.SIZE, "classes": 4, "seed": 0}
    task = {"number": 0, "trial": {**trial, "precision": "fp32", "hyperparameters": values}}
    with patch("time.perf_counter", time.process_time):
        started = time.process_time()
        list(rows(task, development, None, keeper, CPU))
        ours = epochs * len(development.train.labels) / (time.process_time() - started)
        return ours / throughput.bare("linear", epochs, "fp32", development)


def step_gain() -> float:
    """CPU time of a resnet18 step in bf16 in stock torch over ours, the better of two pairs."""

    def milliseconds(arm: str) -> float:
        return float(steps.in_own_process(dict(os.environ), "--quick", "--inner", arm, "resnet18")["ms"])

    return max(milliseconds(steps.ARMS[0]) / milliseconds(steps.ARMS[2]) for _ in range(2))


def orchestration_gain() -> float:
    """Seconds of stock OptunaSearch for trials that do nothing over ours."""
    with (
        patch.object(run, "TrialWorker", orchestration.Idle),
        compute.session(RunConfig(out=Path("unused"), concurrency=2)) as session,
    ):
        ours = orchestration.ours(TRIALS, session.slots(), ARCHITECTURES)[0]
        return orchestration.stock(orchestration.Reused, TRIALS, reuse=True) / ours


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "demo"
        write_demo(data)
        # The demo images are new in every run and would fill the user's own cache.
        os.environ["TUNE_BRAIN_CACHE"] = f"{folder}/cache"
        checks: dict[str, tuple[Callable[[], float], float]] = {
            "input, ours / plain": (lambda: input_gain(data), 6),
            "linear, trial / bare loop": (lambda: trial_share(data), 0.42),
            "orchestration, stock / ours": (orchestration_gain, 1),
        }
        name = "a step of resnet18 in bf16, stock torch / ours"
        if timing.multiplies_faster_in_bf16():
            checks[name] = (step_gain, 1.15)
        else:
            print(f"{name}: not measured, this processor has no instructions for bf16", flush=True)
        lost = []
        for name, (ratio, least) in checks.items():
            value = ratio()
            print(f"{name}: {value:.3g} (at least {least:g})", flush=True)
            if value < least:
                lost.append(name)
    if lost:
        sys.exit(f"Speed was lost: {', '.join(lost)}")


if __name__ == "__main__":
    main()
