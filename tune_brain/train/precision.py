"""Which arithmetic trains an architecture faster on this machine: measured once, then remembered."""

import contextlib
import importlib.metadata
import platform
import re
from pathlib import Path

from tune_brain.config import Precision, allows_bf16
from tune_brain.data.cache import cache_root
from tune_brain.errors import RunFolderError
from tune_brain.records import read_json, write_json

GAIN = 1.25
"""How many times as fast bf16 must be; less is near the noise, and the choice must not change with it."""


def choose(arch: str, image_size: int, classes: int, kind: str) -> Precision:
    """The faster precision for the training steps of an architecture; fp32 unless bf16 clearly wins.

    Measured by a few steps on one thread, about two seconds, and kept in `precision.json` of the cache folder
    for this processor, this version of torch, this architecture and this image size.

    Args:
        arch: name of the architecture.
        image_size: in pixels.
        classes: how many.
        kind: of the device that trains, `cpu` or `cuda`; without such a GPU here it is the CPU.
    """
    if not allows_bf16(arch, image_size):
        return "fp32"
    if kind == "cuda":
        import torch

        kind = "cuda" if torch.cuda.is_available() else "cpu"
    cache = cache_root() / "precision.json"
    version = importlib.metadata.version("torch")
    key = f"{_processor(kind)} | torch {version} | {arch} | {image_size} px"
    try:
        known = read_json(cache)
    except RunFolderError:
        known = {}
    if known.get(key) not in ("fp32", "bf16"):
        # Here and not above: what is remembered is had without waiting for torch.
        from tune_brain.train import timing

        known[key] = "fp32"
        if kind == "cuda" or timing.multiplies_faster_in_bf16():
            seconds = timing.step_seconds(arch, image_size, classes, kind)
            known[key] = "bf16" if seconds["bf16"] * GAIN < seconds["fp32"] else "fp32"
        # Where the cache is another's, it is measured each time.
        with contextlib.suppress(RunFolderError):
            write_json(cache, known)
    chosen: Precision = known[key]
    return chosen


def _processor(kind: str) -> str:
    if kind == "cuda":
        import torch

        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    # Behind a hypervisor one name can stand for processors with and without instructions for bf16.
    bf16 = " ".join(flag for flag in ("avx512_bf16", "amx_bf16") if re.search(rf"\b{flag}\b", text))
    return f"{name[1] if name else platform.processor() or platform.machine()} {bf16}".strip()
