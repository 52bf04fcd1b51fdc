"""Shared by the benchmarks: alternating arms, medians with their range, and result files with provenance."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from program import PROGRAM as PROGRAM

from tune_brain.runs import processor

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "benchmarks"
LIBRARIES = ("torch", "torchvision", "ray", "optuna", "numpy", "pillow")


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with the options that all benchmarks have."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--quick", action="store_true", help="a smoke run: less work, no file written")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("TUNE_BRAIN_DATA", "data")) / "sartaj",
        help="an image folder with Training/ and Testing/ (default: %(default)s)",
    )
    return options


def alternate(arms: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Time the arms in turn, once per round, so that changes in the machine's load affect all of them."""
    values: dict[str, list[float]] = {name: [] for name in arms}
    for repeat in range(repeats):
        for name, arm in arms.items():
            values[name].append(arm())
            print(f"  {repeat + 1}/{repeats} {name}: {values[name][-1]:.4g}", file=sys.stderr, flush=True)
    return values


def spread(values: list[float]) -> dict[str, Any]:
    """Median, minimum, maximum and number of values."""
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }


def ratio(numerators: list[float], denominators: list[float]) -> dict[str, Any]:
    """The spread of the ratios of two arms, computed round by round."""
    return spread([above / below for above, below in zip(numerators, denominators, strict=True)])


def report(name: str, result: Mapping[str, Any], *, quick: bool) -> None:
    """Print a result with its provenance; unless `quick`, also write it to results/benchmarks/<name>.json."""
    record = {"command": " ".join(["python", *_relative(sys.argv)]), **machine(), **result}
    text = json.dumps(record, indent=2) + "\n"
    print(text, end="")
    if not quick:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text)


def machine() -> dict[str, Any]:
    """The provenance of a result: machine, date, versions and commit."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "ended": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "commit": _commit(),
    }


def _commit() -> str:
    """The current commit, with `-dirty` if files other than results/benchmarks have changed."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results/benchmarks")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def _relative(arguments: list[str]) -> list[str]:
    return [os.path.relpath(word, ROOT) if word.startswith("/") else word for word in arguments]
