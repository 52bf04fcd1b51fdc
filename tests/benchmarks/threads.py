"""As many one-thread trials at a time as there are cores, against one trial with as many threads.

    python tests/benchmarks/threads.py [--quick] [--arch cnn] [--epochs 1]

Images per second of all trials together, in the bare loop of throughput.py: what the search's rule of one
thread for each trial rests on.
"""

import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import measure
from throughput import SIZE, bare

from tune_brain.config import ARCHITECTURES, Precision
from tune_brain.data.prepare import prepare

_all_ready: Barrier


def _take(barrier: Barrier) -> None:
    global _all_ready
    _all_ready = barrier


def _train(arch: str, epochs: int, precision: Precision, data: Path, threads: int) -> float:
    development = prepare(data, image_size=SIZE, seed=0).development()
    _all_ready.wait()
    return bare(arch, epochs, precision, development, threads)


def together(trials: int, threads: int, *asked: object) -> float:
    """Training images per second of so many trials that begin at the same moment."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(trials, _take, (context.Barrier(trials),)) as pool:
        return sum(pool.starmap(_train, [(*asked, threads)] * trials, chunksize=1))


def main() -> None:
    options = measure.parser(__doc__)
    options.set_defaults(repeats=3)
    options.add_argument("--arch", choices=ARCHITECTURES, action="append")
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    asked = options.parse_args()
    cores = os.cpu_count() or 1
    result = {"image size": SIZE, "precision": asked.precision, "epochs": asked.epochs}
    for arch in asked.arch or ARCHITECTURES:
        # A linear epoch is too short to tell.
        epochs = asked.epochs * (10 if arch == "linear" else 1)
        run = (arch, epochs, asked.precision, asked.data)
        print(arch, flush=True)
        values = measure.alternate(
            {
                "side by side": lambda run=run: together(cores, 1, *run),
                "all threads": lambda run=run: together(1, cores, *run),
            },
            1 if asked.quick else asked.repeats,
        )
        result[arch] = {
            f"{cores} trials of 1 thread: images/s": measure.spread(values["side by side"]),
            f"1 trial of {cores} threads: images/s": measure.spread(values["all threads"]),
            "side by side / all threads": measure.ratio(values["side by side"], values["all threads"]),
        }
    measure.tell("threads", result, quick=asked.quick)


if __name__ == "__main__":
    main()
