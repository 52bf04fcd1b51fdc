"""How long a training step takes in each precision on this machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch.nn.functional import linear

from tune_brain.config import Hyperparameters, Precision, TrialConfig
from tune_brain.models import build
from tune_brain.train.fit import step
from tune_brain.train.optim import optimizer
from tune_brain.train.training import arrange

BUDGET = 0.5
"""Seconds to measure for; two steps in each precision are taken however long they last."""


@cache
def multiplies_faster_in_bf16() -> bool:
    """Whether this CPU's product of two matrices of 512 x 512 is faster in bf16 than in fp32.

    It is not where instructions for bf16 are missing. There a training step takes several times as long in
    bf16, too long to measure one.
    """

    def seconds(kind: torch.dtype) -> float:
        matrix, times = torch.ones((512, 512), dtype=kind), []
        for _ in range(5):
            started = time.process_time()
            linear(matrix, matrix)
            times.append(time.process_time() - started)
        return min(times)

    with _one_thread():
        return seconds(torch.bfloat16) < seconds(torch.float32)


def step_seconds(arch: str, image_size: int, classes: int, kind: str) -> dict[Precision, float]:
    """Seconds that a training step on random images takes in each precision: the fastest of a few.

    One thread, as in a trial, on a device of this kind, `cpu` or `cuda`. On a CPU the seconds of this process
    are counted, so that other work on the machine weighs less, and the batch shrinks for large images, so
    that even a slow architecture takes seconds and not minutes. A GPU would only wait for launches then.
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
    updates = {precision: optimizer(model, hp) for precision, model in models.items()}
    end = float("inf")
    # In turns, so that a change in the machine's load meets both; the first step of each only warms up.
    while len(durations["bf16"]) < 2 or clock() < end:
        for precision, model in models.items():
            started = clock()
            step(model, updates[precision], batch, labels, hp.grad_clip, precision)
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            durations[precision].append(clock() - started)
        # The first steps load a GPU's programs, which can take longer than all others.
        end = min(end, clock() + BUDGET)
    return {precision: min(times) for precision, times in durations.items()}
