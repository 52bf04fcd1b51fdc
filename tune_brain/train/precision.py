"""Which arithmetic trains an architecture faster on this machine: measured once, then remembered."""

import contextlib
import importlib.metadata

from tune_brain.config import Precision, allows_bf16
from tune_brain.data.cache import cache_root
from tune_brain.errors import RunFolderError
from tune_brain.records import read_json, write_json
from tune_brain.runs import processor

GAIN = 1.25
"""How many times as fast bf16 must be; less is near the noise, and the choice must not change with it."""


def faster_precision(arch: str, image_size: int, classes: int, kind: str) -> Precision:
    """The faster precision for the training steps of an architecture; fp32 unless bf16 clearly wins.

    Or unless fp32 has no room.

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
    name = processor()
    if kind == "cuda":
        import torch

        kind = "cuda" if torch.cuda.is_available() else "cpu"
        name = torch.cuda.get_device_name() if kind == "cuda" else name
    cache = cache_root() / "precision.json"
    version = importlib.metadata.version("torch")
    key = f"{name} | torch {version} | {arch} | {image_size} px"
    try:
        known = read_json(cache)
    except RunFolderError:
        known = {}
    if known.get(key) not in ("fp32", "bf16"):
        # Here and not above: what is remembered is had without waiting for torch.
        from tune_brain.train import timing
        from tune_brain.train.process import is_memory

        known[key] = "fp32"
        if kind == "cuda" or timing.multiplies_faster_in_bf16():
            try:
                seconds = timing.step_seconds(arch, image_size, classes, kind)
            except Exception as error:
                if not is_memory(error):
                    raise
                # Not remembered, since others may have taken the room.
                return "bf16"
            known[key] = "bf16" if seconds["bf16"] * GAIN < seconds["fp32"] else "fp32"
        # Where the cache is another's, it is measured each time.
        with contextlib.suppress(RunFolderError):
            write_json(cache, known)
    chosen: Precision = known[key]
    return chosen
