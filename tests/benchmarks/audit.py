"""Wall-clock time, CPU time and memory of `tune-brain audit`, on the two data sets and on growing folders.

    python tests/benchmarks/audit.py [--quick] [--sizes 3000,12000,48000] [--data data/sartaj]

nickparvar is expected beside the folder of --data. The growing folders hold generated JPEG files of 128
pixels. CPU seconds of all threads are reported beside the wall clock, which other load on the machine
lengthens.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import measure
import numpy as np

from tune_brain.data.demo import CLASSES, draw


def write_image(root: Path, number: int) -> None:
    """Write one generated image; every fifth of a class goes to the test folder."""
    name = CLASSES[number % 4]
    file = root / ("Testing" if number // 4 % 5 == 0 else "Training") / name / f"{number}.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    draw(name, np.random.default_rng(number)).resize((128, 128)).save(file, quality=90)


def generate(root: Path, n: int) -> Path:
    """Fill a folder with n images, no two of them twins."""
    with ProcessPoolExecutor() as pool:
        list(pool.map(write_image, [root] * n, range(n), chunksize=256))
    return root


def audit(folder: Path) -> dict[str, float]:
    """Wall-clock and CPU seconds and peak memory in MiB of one audit."""
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        running = subprocess.Popen(
            [*measure.PROGRAM, "audit", str(folder), "--to", f"{out}/audit"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        if running.returncode:
            raise SystemExit(f"the audit of {folder.name} failed")
        return {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_mib": usage.ru_maxrss / 1024,
        }


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument(
        "--sizes", default="3000,12000,48000", help="numbers of images of the generated folders"
    )
    args = options.parse_args()
    known = [folder for folder in (args.data, args.data.with_name("nickparvar")) if folder.is_dir()]
    sizes = [int(size) for size in args.sizes.split(",")][: 1 if args.quick else None]
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as root:
        folders = [*known, *(generate(Path(root) / f"{n} generated", n) for n in sizes)]
        for folder in folders:
            audit(folder)  # Warms the page cache.
            times = [audit(folder) for _ in range(1 if args.quick else args.repeats)]
            result[folder.name] = {
                name: measure.spread([audited[name] for audited in times]) for name in times[0]
            }
            print(folder.name, result[folder.name], file=sys.stderr, flush=True)
    measure.report("audit", result, quick=args.quick)


if __name__ == "__main__":
    main()
