"""Which arithmetic trains an architecture faster on this machine: measured once, then remembered."""

import os
import platform
import re
import time
from pathlib import Path

import torch

from tune_brain.config import Hyperparameters, Precision, TrialConfig
from tune_brain.errors import RunFolderError
from tune_brain.models import build
from tune_brain.records import read_json, write_json
from tune_brain.train.fit import place, step
from tune_brain.train.optim import optimizer

GAIN = 1.05
"""How much faster bf16 must be to be worth its rounding."""


def choose(arch: str, image_size: int, classes: int, device: torch.device) -> Precision:
    """The faster precision for the training steps of an architecture; fp32 unless bf16 clearly wins.

    Measured by a few steps on one thread, about two seconds, and kept in `precision.json` of the cache folder
    for this processor, this version of torch, this architecture and this image size.
    """
    cache = (
        Path(os.environ.get("TUNE_BRAIN_CACHE") or Path.home() / ".cache" / "tune_brain") / "precision.json"
    )
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
        fp32 = seconds_per_step(arch, image_size, classes, device, "fp32")
        bf16 = seconds_per_step(arch, image_size, classes, device, "bf16")
    finally:
        torch.set_num_threads(threads)
    return "bf16" if bf16 * GAIN < fp32 else "fp32"


def seconds_per_step(
    arch: str, image_size: int, classes: int, device: torch.device, precision: Precision, budget: float = 0.5
) -> float:
    """The fastest of a few training steps on random images, in seconds.

    The batch shrinks for large images, so that even a slow architecture takes seconds and not minutes.
    """
    hp = Hyperparameters(max_lr=1e-3, weight_decay=1e-2, grad_clip=1.0)
    config = TrialConfig(
        arch=arch, epochs=1, image_size=image_size, classes=classes, seed=0, hyperparameters=hp
    )
    model = build(config)
    place(model, device, precision)
    update = optimizer(model, hp)
    size = max(4, min(32, 32 * 64**2 // image_size**2))
    batch = torch.full((size, 1, image_size, image_size), 0.5, device=device)
    labels = torch.zeros(size, dtype=torch.int64, device=device)
    durations: list[float] = []
    while len(durations) < 3 or sum(durations) < budget:
        started = time.perf_counter()
        step(model, update, batch, labels, hp.grad_clip, precision)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        durations.append(time.perf_counter() - started)
    return min(durations)


def _processor(device: torch.device) -> str:
    if device.type != "cpu":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    # Behind a hypervisor one name can stand for processors with and without instructions for bf16.
    bf16 = " ".join(flag for flag in ("avx512_bf16", "amx_bf16") if re.search(rf"\b{flag}\b", text))
    return f"{name[1] if name else platform.processor() or platform.machine()} {bf16}".strip()
