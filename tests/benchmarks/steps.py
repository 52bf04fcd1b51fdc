"""Milliseconds of CPU of a training step: as torch has it, with memory kept, and as a trial takes it.

    python tests/benchmarks/steps.py [--quick] [--isa AVX512_CORE_BF16]

Batches of 32 in bf16 at 64 px on one thread, each arm in a process of its own, whose fastest of some steps
counts, since other users of the processor only make a step slower. Then one convolution of 512 channels
forwards and backwards on images of 2x2, 3x3 and 4x4, by oneDNN, as a product of patches, and of all pixels
with all. `--isa` makes oneDNN take this machine for a lesser one (ONEDNN_MAX_CPU_ISA).
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import measure
import torch
from torch.nn.functional import conv2d

from tune_brain.config import Hyperparameters, TrialConfig
from tune_brain.models import build
from tune_brain.portable.networks import place
from tune_brain.train.convolution import dense, product, speed_up
from tune_brain.train.fit import step
from tune_brain.train.optim import optimizer
from tune_brain.train.process import make_ready

ARMS = ("torch's", "memory kept", "ours")
CHANNELS, SIDES, BATCH = 512, (2, 3, 4), 32


def fastest(act: Callable[[], object], times: int) -> float:
    """Milliseconds of CPU of the fastest of so many times."""
    durations = []
    for _ in range(times):
        started = time.process_time()
        act()
        durations.append(time.process_time() - started)
    return min(durations) * 1000


def one_arm(arm: str, arch: str, steps: int) -> dict[str, float]:
    """What a step costs this process."""
    torch.set_num_threads(1)
    if arm != ARMS[0]:
        make_ready()
    hp = Hyperparameters(max_lr=1e-3, weight_decay=1e-2, grad_clip=1.0)
    config = TrialConfig(
        arch=arch, epochs=1, image_size=64, classes=4, seed=0, precision="bf16", hyperparameters=hp
    )
    model = build(config).train()
    place(model, torch.device("cpu"), "bf16")
    if arm == ARMS[2]:
        speed_up(model)
    update = optimizer(model, hp) if arm == ARMS[2] else torch.optim.AdamW(model.parameters(), fused=True)
    images = torch.rand(BATCH, 1, 64, 64)
    labels = torch.arange(BATCH) % 4
    fastest(lambda: step(model, update, images, labels, 1.0, "bf16"), 5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    best = fastest(lambda: step(model, update, images, labels, 1.0, "bf16"), steps)
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {"ms": best, "pages": pages / steps}


def convolutions(times: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each way for each size of image."""
    make_ready()
    found = {}
    for side in SIDES:
        shapes = (BATCH, CHANNELS, side, side), (CHANNELS, CHANNELS, 3, 3)
        images, weight = (
            torch.randn(shape, dtype=torch.bfloat16)
            .contiguous(memory_format=torch.channels_last)
            .requires_grad_()
            for shape in shapes
        )
        ways: dict[str, Callable[[], torch.Tensor]] = {
            "oneDNN": lambda images=images, weight=weight: conv2d(images, weight, None, 1, 1),
            "product": lambda images=images, weight=weight: product(images, weight, 1),
        }
        if side <= 2:
            ways["all with all"] = lambda images=images, weight=weight: dense(images, weight)
        found[f"{side}x{side}"] = {
            name: fastest(lambda way=way: way().float().sum().backward(), times) for name, way in ways.items()
        }
    return found


def apart(environment: dict[str, str], *arguments: str) -> Any:
    """What this program prints in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--isa", help="of ONEDNN_MAX_CPU_ISA")
    options.add_argument("--inner", nargs="*", help="of the program itself")
    asked = options.parse_args()
    count = 5 if asked.quick else 15
    if asked.inner is not None:
        print(json.dumps(one_arm(*asked.inner, steps=count) if asked.inner else convolutions(count)))
        return
    environment = os.environ | ({"ONEDNN_MAX_CPU_ISA": asked.isa} if asked.isa else {})
    quick = ["--quick"] if asked.quick else []
    result: dict[str, Any] = {"isa": asked.isa or "this machine's"}
    for arch in ("cnn", "resnet18", "resnet34"):
        pages: dict[str, float] = {}

        def milliseconds(arm: str, arch: str = arch, pages: dict[str, float] = pages) -> float:
            told = apart(environment, *quick, "--inner", arm, arch)
            pages[arm] = told["pages"]
            return float(told["ms"])

        arms = {arm: lambda arm=arm: milliseconds(arm) for arm in ARMS}
        values = measure.alternate(arms, 1 if asked.quick else asked.repeats)
        result[arch] = {f"{arm}: ms": measure.spread(values[arm]) for arm in ARMS}
        result[arch] |= {"pages cleared a step": pages}
        result[arch] |= {
            f"{ARMS[0]} / {arm}": measure.ratio(values[ARMS[0]], values[arm]) for arm in ARMS[1:]
        }
    result["one convolution: ms"] = apart(environment, *quick, "--inner")
    measure.tell(f"steps-{asked.isa.lower()}" if asked.isa else "steps", result, quick=asked.quick)


if __name__ == "__main__":
    main()
