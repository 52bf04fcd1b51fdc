"""CPU time of a training step: in stock torch, with freed memory kept, and as in a trial.

    python tests/benchmarks/steps.py [--quick] [--isa AVX512_CORE_BF16]

Batches of 32 in bf16 at 64 px on one thread. Each arm runs in its own process, and its fastest step counts,
because other users of the processor only make steps slower. Then one convolution of 512 channels, forward
and backward, on images of 2x2, 3x3 and 4x4 pixels: by oneDNN, as a product of patches, and as a dense layer
from all pixels to all pixels. `--isa` limits oneDNN to an instruction set (ONEDNN_MAX_CPU_ISA).
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
from tune_brain.train.optim import make_optimizer
from tune_brain.train.process import make_ready

ARMS = ("torch's", "memory kept", "ours")
CHANNELS, SIDES, BATCH = 512, (2, 3, 4), 32


def fastest(call: Callable[[], object], times: int) -> float:
    """CPU milliseconds of the fastest of several calls."""
    durations = []
    for _ in range(times):
        started = time.process_time()
        call()
        durations.append(time.process_time() - started)
    return min(durations) * 1000


def one_arm(arm: str, arch: str, steps: int) -> dict[str, float]:
    """CPU milliseconds and page faults of a training step in this process."""
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
    optimizer = (
        make_optimizer(model, hp) if arm == ARMS[2] else torch.optim.AdamW(model.parameters(), fused=True)
    )
    images = torch.rand(BATCH, 1, 64, 64)
    labels = torch.arange(BATCH) % 4
    fastest(lambda: step(model, optimizer, images, labels, 1.0, "bf16"), 5)
    faults_before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    best = fastest(lambda: step(model, optimizer, images, labels, 1.0, "bf16"), steps)
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults_before
    return {"ms": best, "pages": pages / steps}


def convolutions(times: int) -> dict[str, dict[str, float]]:
    """CPU milliseconds of each implementation, by image size."""
    make_ready()
    durations = {}
    for side in SIDES:
        shapes = (BATCH, CHANNELS, side, side), (CHANNELS, CHANNELS, 3, 3)
        images, weight = (
            torch.randn(shape, dtype=torch.bfloat16)
            .contiguous(memory_format=torch.channels_last)
            .requires_grad_()
            for shape in shapes
        )
        implementations: dict[str, Callable[[], torch.Tensor]] = {
            "oneDNN": lambda images=images, weight=weight: conv2d(images, weight, None, 1, 1),
            "product": lambda images=images, weight=weight: product(images, weight, 1),
        }
        if side <= 2:
            implementations["all with all"] = lambda images=images, weight=weight: dense(images, weight)
        durations[f"{side}x{side}"] = {
            name: fastest(lambda call=implementation: call().float().sum().backward(), times)
            for name, implementation in implementations.items()
        }
    return durations


def in_own_process(environment: dict[str, str], *arguments: str) -> Any:
    """Run this program in its own process; returns the JSON that it prints."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--isa", help="value of ONEDNN_MAX_CPU_ISA")
    options.add_argument("--inner", nargs="*", help="used by the program itself")
    args = options.parse_args()
    count = 5 if args.quick else 15
    if args.inner is not None:
        print(json.dumps(one_arm(*args.inner, steps=count) if args.inner else convolutions(count)))
        return
    environment = os.environ | ({"ONEDNN_MAX_CPU_ISA": args.isa} if args.isa else {})
    quick = ["--quick"] if args.quick else []
    result: dict[str, Any] = {"isa": args.isa or "this machine's"}
    for arch in ("cnn", "resnet18", "resnet34"):
        pages: dict[str, float] = {}

        def milliseconds(arm: str, arch: str = arch, pages: dict[str, float] = pages) -> float:
            measured = in_own_process(environment, *quick, "--inner", arm, arch)
            pages[arm] = measured["pages"]
            return float(measured["ms"])

        arms = {arm: lambda arm=arm: milliseconds(arm) for arm in ARMS}
        values = measure.alternate(arms, 1 if args.quick else args.repeats)
        result[arch] = {f"{arm}: ms": measure.spread(values[arm]) for arm in ARMS}
        result[arch] |= {"pages cleared a step": pages}
        result[arch] |= {
            f"{ARMS[0]} / {arm}": measure.ratio(values[ARMS[0]], values[arm]) for arm in ARMS[1:]
        }
    result["one convolution: ms"] = in_own_process(environment, *quick, "--inner")
    measure.report(f"steps-{args.isa.lower()}" if args.isa else "steps", result, quick=args.quick)


if __name__ == "__main__":
    main()
