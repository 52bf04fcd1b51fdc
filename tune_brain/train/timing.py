"""The duration of a training step in each precision on this machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch.nn.functional import linear

from tune_brain.config import Hyperparameters, Precision, TrialConfig
from tune_brain.models import build
from tune_brain.train.fit import step
from tune_brain.train.optim import make_optimizer
from tune_brain.train.training import arrange

BUDGET = 0.5
"""Seconds of measuring; at least two steps are taken in each precision, however long they last."""


@cache
def multiplies_faster_in_bf16() -> bool:
    """Whether this CPU multiplies two 512 x 512 matrices faster in bf16 than in fp32.

    A CPU without instructions for bf16 does not. A training step in bf16 then takes several times as long as
    in fp32: too long to measure one.
    """

    def seconds(kind: torch.dtype) -> float:
        matrix, durations = torch.ones((512, 512), dtype=kind), []
        for _ in range(5):
            started = time.process_time()
            linear(matrix, matrix)
            durations.append(time.process_time() - started)
        return min(durations)

    with _one_thread():
        return seconds(torch.bfloat16) < seconds(torch.float32)


def step_seconds(arch: str, image_size: int, classes: int, kind: str) -> dict[Precision, float]:
    """Seconds that a training step on random images takes in each precision: the fastest of a few steps.

    Runs on one thread, and with the cuDNN algorithms that a trial uses. On a CPU it counts the CPU time of
    this process, so that other work on the machine matters less, and shrinks the batch for large images, so
    that even a slow architecture takes seconds and not minutes. On a GPU the batch stays: a small one would
    measure kernel launches only.
    """
    with _one_thread():
        return _measure(arch, image_size, classes, torch.device(kind))


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _measure(arch: str, image_size: int, classes: int, device: torch.device) -> dict[Precision, float]:
    # As `process.make_ready` sets it for a trial.
    torch.backends.cudnn.deterministic = True
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    hp = Hyperparameters(max_lr=1e-3, weight_decay=1e-2, grad_clip=1.0)
    config = TrialConfig(
        arch=arch, epochs=1, image_size=image_size, classes=classes, seed=0, hyperparameters=hp
    )
    size = max(4, min(32, 32 * 64**2 // image_size**2)) if device.type == "cpu" else 32
    batch = torch.rand((size, 1, image_size, image_size), generator=torch.Generator().manual_seed(0))
    batch = batch.to(device)
    labels = torch.zeros(size, dtype=torch.int64, device=device)
    durations: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    models = {precision: build(config) for precision in durations}
    for precision, model in models.items():
        arrange(model, device, precision)
    optimizers = {precision: make_optimizer(model, hp) for precision, model in models.items()}
    end = float("inf")
    # Alternating, so that a change in the machine's load affects both; the first step of each is a warm-up.
    while len(durations["bf16"]) < 2 or clock() < end:
        for precision, model in models.items():
            started = clock()
            step(model, optimizers[precision], batch, labels, hp.grad_clip, precision)
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            durations[precision].append(clock() - started)
        # Not started earlier: the first steps load a GPU's kernels, which can take longer than all others.
        end = min(end, clock() + BUDGET)
    return {precision: min(times) for precision, times in durations.items()}
