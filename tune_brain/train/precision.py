"""Which arithmetic trains an architecture faster on this machine: measured once, then remembered."""

import platform
import re
import time
from pathlib import Path

import torch

from tune_brain.config import Hyperparameters, Precision, TrialConfig
from tune_brain.data.cache import cache_root
from tune_brain.errors import RunFolderError
from tune_brain.models import allows_bf16, build
from tune_brain.records import read_json, write_json
from tune_brain.train.fit import step
from tune_brain.train.optim import optimizer
from tune_brain.train.training import place

GAIN = 1.25
"""How many times as fast bf16 must be; less is near the noise, and the choice must not change with it."""
BUDGET = 0.5
"""Seconds to measure for; two steps in each precision are taken however long they last."""


def choose(arch: str, image_size: int, classes: int, device: torch.device) -> Precision:
    """The faster precision for the training steps of an architecture; fp32 unless bf16 clearly wins.

    Measured by a few steps on one thread, about two seconds, and kept in `precision.json` of the cache folder
    for this processor, this version of torch, this architecture and this image size.
    """
    if not allows_bf16(arch, image_size):
        return "fp32"
    cache = cache_root() / "precision.json"
    key = f"{_processor(device)} | torch {torch.__version__} | {arch} | {image_size} px"
    try:
        known = read_json(cache)
    except RunFolderError:
        known = {}
    if known.get(key) not in ("fp32", "bf16"):
        known[key] = _measure(arch, image_size, classes, device)
        write_json(cache, known)
    chosen: Precision = known[key]
    return chosen


def _measure(arch: str, image_size: int, classes: int, device: torch.device) -> Precision:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = step_seconds(arch, image_size, classes, device)
    finally:
        torch.set_num_threads(threads)
    return "bf16" if seconds["bf16"] * GAIN < seconds["fp32"] else "fp32"


def step_seconds(arch: str, image_size: int, classes: int, device: torch.device) -> dict[Precision, float]:
    """Seconds that a training step on random images takes in each precision: the fastest of a few.

    On a CPU the seconds of this process are counted, so that other work on the machine weighs less. The
    batch shrinks for large images, so that even a slow architecture takes seconds and not minutes.
    """
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    hp = Hyperparameters(max_lr=1e-3, weight_decay=1e-2, grad_clip=1.0)
    config = TrialConfig(
        arch=arch, epochs=1, image_size=image_size, classes=classes, seed=0, hyperparameters=hp
    )
    size = max(4, min(32, 32 * 40**2 // image_size**2))
    batch = torch.rand((size, 1, image_size, image_size), generator=torch.Generator().manual_seed(0))
    batch = batch.to(device)
    labels = torch.zeros(size, dtype=torch.int64, device=device)
    durations: dict[Precision, list[float]] = {"fp32": [], "bf16": []}
    models = {precision: build(config) for precision in durations}
    for precision, model in models.items():
        place(model, device, precision)
    updates = {precision: optimizer(model, hp) for precision, model in models.items()}
    end = clock() + BUDGET
    # In turns, so that a change in the machine's load meets both; the first step of each only warms up.
    while len(durations["bf16"]) < 2 or clock() < end:
        for precision, model in models.items():
            started = clock()
            step(model, updates[precision], batch, labels, hp.grad_clip, precision)
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            durations[precision].append(clock() - started)
    return {precision: min(times) for precision, times in durations.items()}


def _processor(device: torch.device) -> str:
    if device.type != "cpu":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    # Behind a hypervisor one name can stand for processors with and without instructions for bf16.
    bf16 = " ".join(flag for flag in ("avx512_bf16", "amx_bf16") if re.search(rf"\b{flag}\b", text))
    return f"{name[1] if name else platform.processor() or platform.machine()} {bf16}".strip()
