"""Which precision trains an architecture faster on this machine, fp32 or bf16: measured once, then cached."""

import contextlib
import importlib.metadata

from tune_brain.config import Precision, allows_bf16
from tune_brain.data.cache import cache_root
from tune_brain.errors import RunFolderError
from tune_brain.files import as_json, read_json, write_text
from tune_brain.runs import processor

GAIN = 1.25
"""The speed-up that bf16 needs to be chosen: with less, noise in the measurement could decide."""


def faster_precision(arch: str, image_size: int, classes: int, kind: str) -> Precision:
    """The faster precision for the training steps of an architecture.

    It is fp32 unless bf16 is clearly faster or the measurement runs out of memory. The measurement takes a
    few steps on one thread, about two seconds. Its result is cached in `precision.json` of the cache folder
    for this processor, version of torch, architecture and image size.

    Args:
        arch: name of the architecture.
        image_size: in pixels.
        classes: number of classes.
        kind: of the device that trains, `cpu` or `cuda`; without a GPU on this machine the CPU is measured.
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
        measured = read_json(cache)
    except RunFolderError:
        measured = {}
    if measured.get(key) not in ("fp32", "bf16"):
        # Imported here, so that a cached result does not wait for torch.
        from tune_brain.train import timing
        from tune_brain.train.process import is_memory

        measured[key] = "fp32"
        if kind == "cuda" or timing.multiplies_faster_in_bf16():
            try:
                seconds = timing.step_seconds(arch, image_size, classes, kind)
            except Exception as error:
                if not is_memory(error):
                    raise
                # Not cached, since other processes may have taken the memory.
                return "bf16"
            measured[key] = "bf16" if seconds["bf16"] * GAIN < seconds["fp32"] else "fp32"
        # If the cache cannot be written, the precision is measured each time.
        with contextlib.suppress(OSError):
            write_text(cache, as_json(measured))
    chosen: Precision = measured[key]
    return chosen
