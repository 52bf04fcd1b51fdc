"""Which precision trains an architecture faster on this machine, fp32 or bf16: measured once, then cached."""

import contextlib
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from tune_brain.config import Precision, allows_bf16
from tune_brain.data.cache import cache_root
from tune_brain.errors import RunFolderError
from tune_brain.files import as_json, read_json, write_text
from tune_brain.runs import processor

GAIN = 1.25
"""The speed-up that bf16 needs to be chosen: with less, noise in the measurement could decide."""


def faster_precision(arch: str, image_size: int, classes: int, kind: str) -> Precision:
    """The faster precision for the training steps of an architecture.

    It is fp32 unless bf16 is clearly faster, or the measurement runs out of memory. The measurement takes a
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
    key = f"{name} | torch {importlib.metadata.version('torch')} | {arch} | {image_size} px"
    if known := _cached().get(key):
        return known
    # Imported here, so that a cached result does not wait for torch.
    from tune_brain.train.process import is_memory

    try:
        chosen = _measured(arch, image_size, classes, kind)
    except Exception as error:
        if not is_memory(error):
            raise
        # Not cached, since other processes may have taken the memory.
        return "bf16"
    # If the cache cannot be written, the precision is measured each time.
    with contextlib.suppress(OSError):
        write_text(_cache(), as_json(_cached() | {key: chosen}))
    return chosen


def slow_on_this_cpu(precisions: Mapping[str, Precision]) -> str | None:
    """Says which architectures train slowly in bf16 on CPUs like this one; None if none do.

    Scores in another precision could not be compared, so a search that began in bf16 continues in it.

    Args:
        precisions: by architecture.
    """
    archs = [arch for arch, precision in precisions.items() if precision == "bf16"]
    if not archs:
        return None
    from tune_brain.train.timing import multiplies_faster_in_bf16

    if multiplies_faster_in_bf16():
        return None
    return (
        f"{', '.join(archs)} in bf16, as the search began: this processor has no instructions for it, "
        "so training takes several times as long"
    )


def _measured(arch: str, image_size: int, classes: int, kind: str) -> Precision:
    from tune_brain.train import timing

    if kind == "cpu" and not timing.multiplies_faster_in_bf16():
        return "fp32"
    seconds = timing.step_seconds(arch, image_size, classes, kind)
    return "bf16" if seconds["bf16"] * GAIN < seconds["fp32"] else "fp32"


def _cache() -> Path:
    return cache_root() / "precision.json"


def _cached() -> dict[str, Precision]:
    """The results so far; none if the file is missing or torn."""
    try:
        stored = read_json(_cache())
    except RunFolderError:
        return {}
    return {key: chosen for key, chosen in stored.items() if chosen in ("fp32", "bf16")}
