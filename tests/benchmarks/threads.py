"""One single-threaded trial per core, against one trial with as many threads.

    python tests/benchmarks/threads.py [--quick] [--arch cnn] [--epochs 1]

Images per second of all trials together, in the bare loop of throughput.py. The result justifies the search's
rule of one thread per trial.
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


def _init_worker(barrier: Barrier) -> None:
    global _all_ready
    _all_ready = barrier


def _train(arch: str, epochs: int, precision: Precision, data: Path, threads: int) -> float:
    development = prepare(data, image_size=SIZE, seed=0).development()
    _all_ready.wait()
    return bare(arch, epochs, precision, development, threads)


def together(trials: int, threads: int, *arguments: object) -> float:
    """Training images per second of all trials together, which start at the same moment."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(trials, _init_worker, (context.Barrier(trials),)) as pool:
        return sum(pool.starmap(_train, [(*arguments, threads)] * trials, chunksize=1))


def main() -> None:
    options = measure.parser(__doc__)
    options.set_defaults(repeats=3)
    options.add_argument("--arch", choices=ARCHITECTURES, action="append")
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    args = options.parse_args()
    cores = os.cpu_count() or 1
    result = {"image size": SIZE, "precision": args.precision, "epochs": args.epochs}
    for arch in args.arch or ARCHITECTURES:
        # A single epoch of linear is too short to measure.
        epochs = args.epochs * (10 if arch == "linear" else 1)
        run = (arch, epochs, args.precision, args.data)
        print(arch, flush=True)
        values = measure.alternate(
            {
                "side by side": lambda run=run: together(cores, 1, *run),
                "all threads": lambda run=run: together(1, cores, *run),
            },
            1 if args.quick else args.repeats,
        )
        result[arch] = {
            f"{cores} trials of 1 thread: images/s": measure.spread(values["side by side"]),
            f"1 trial of {cores} threads: images/s": measure.spread(values["all threads"]),
            "side by side / all threads": measure.ratio(values["side by side"], values["all threads"]),
        }
    measure.report("threads", result, quick=args.quick)


if __name__ == "__main__":
    main()
