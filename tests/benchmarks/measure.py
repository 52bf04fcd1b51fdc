"""What the benchmarks share: arms in turns, medians with their spread, a JSON file that says where it ran."""

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
    """The options that every benchmark has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--quick", action="store_true", help="a look: less work, no file written")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("TUNE_BRAIN_DATA", "data")) / "sartaj",
        help="an image folder with Training/ and Testing/ (default: %(default)s)",
    )
    return options


def alternate(arms: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Call every arm once a round, so that a change in the machine's load meets all of them."""
    values: dict[str, list[float]] = {name: [] for name in arms}
    for repeat in range(repeats):
        for name, arm in arms.items():
            values[name].append(arm())
            print(f"  {repeat + 1}/{repeats} {name}: {values[name][-1]:.4g}", file=sys.stderr, flush=True)
    return values


def spread(values: list[float]) -> dict[str, Any]:
    """Median, smallest, largest and number of some values."""
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }


def ratio(above: list[float], below: list[float]) -> dict[str, Any]:
    """The spread of the ratios of two arms, round by round."""
    return spread([one / other for one, other in zip(above, below, strict=True)])


def tell(name: str, result: Mapping[str, Any], *, quick: bool) -> None:
    """Print a result, and keep it in results/benchmarks unless it was only a look."""
    whole = {"command": " ".join(["python", *_relative(sys.argv)]), **machine(), **result}
    text = json.dumps(whole, indent=2) + "\n"
    print(text, end="")
    if not quick:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text)


def machine() -> dict[str, Any]:
    """Where a figure comes from."""
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
    """The commit of the code that is measured, `-dirty` where other files than measurements are changed."""

    def git(*asked: str) -> str:
        command = ["git", "-C", str(ROOT), *asked]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!results/benchmarks")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def _relative(arguments: list[str]) -> list[str]:
    return [os.path.relpath(one, ROOT) if one.startswith("/") else one for one in arguments]
