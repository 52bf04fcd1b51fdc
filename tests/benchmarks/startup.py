"""How long `tune-brain --help` takes, and how long after `tune-brain search` the first trial trains.

    python tests/benchmarks/startup.py [--quick]

The search uses the built-in demo images and a warm cache; the first epoch row on disk is an upper bound for
the start of training. For comparison, the minimum for any search with Ray Tune and torch: importing both and
starting Ray.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

PLAIN = "import torch, ray; from ray import tune; ray.init(include_dashboard=False, log_to_driver=False)"


def program() -> list[str]:
    """The `tune-brain` command of this interpreter's environment."""
    return [str(Path(sys.executable).with_name("tune-brain"))]


def help_seconds() -> float:
    """Seconds of `tune-brain --help`."""
    started = time.perf_counter()
    subprocess.run([*program(), "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def plain_seconds() -> float:
    """Seconds to import Ray Tune and torch and to start Ray."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", PLAIN], check=True, capture_output=True)
    return time.perf_counter() - started


def first_row_seconds() -> float:
    """Seconds from the command to the first epoch row of a search."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        options = ["--arch", "linear", "--configs", "2", "--ladder", "1,2", "--image-size", "48", "--out"]
        started = time.perf_counter()
        running = subprocess.Popen(
            [*program(), "search", *options, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not (out / "epochs.jsonl").exists() and running.poll() is None:
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        if running.wait():
            raise SystemExit("the search failed")
        return seconds


def main() -> None:
    args = measure.parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TUNE_BRAIN_CACHE"] = cache
        first_row_seconds()
        values = measure.alternate(
            {
                "--help: s": help_seconds,
                "torch and Ray Tune imported, Ray started: s": plain_seconds,
                "first epoch row: s": first_row_seconds,
            },
            1 if args.quick else args.repeats,
        )
    result = {name: measure.spread(seconds) for name, seconds in values.items()}
    measure.report("startup", result, quick=args.quick)


if __name__ == "__main__":
    main()
