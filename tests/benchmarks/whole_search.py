"""A whole search against the plain script: seconds, and seconds per epoch, including start-up and decoding.

    python tests/benchmarks/whole_search.py [--quick] [--arch linear] [--data DIR] [--seed 0]

Eight configurations, 12 epochs, 64 px, batches of 32. Ours uses the default ladder and an empty cache, so
decoding and the choice of the precision count too. The arms train different numbers of epochs: ours trains a
baseline and a final round as well, and the plain script's ASHA stops most trials early. So the ratio of
seconds per epoch says how well the machine is used, and the ratio of seconds what each search costs. `--arch
all` searches the four architectures together; the
plain script takes them one after another. Each round has its own seed, counted from --seed: how well the
trials of a search fill two slots until its end is a matter of luck.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import measure

from tune_brain.config import ARCHITECTURES
from tune_brain.records import EpochRow, read

SIZE = 64
PLAIN = Path(__file__).with_name("plain_search.py")


class Cost(NamedTuple):
    """What a search took."""

    seconds: float
    epochs: int


def plain(data: Path, archs: tuple[str, ...], trials: int, epochs: int, seed: int) -> Cost:
    """Search with the plain script."""
    seconds, trained = 0.0, 0
    for arch in archs:
        options = [str(data), arch, str(trials), str(epochs), str(SIZE), str(seed)]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(PLAIN), *options], check=True, capture_output=True, text=True
        )
        seconds += time.perf_counter() - started
        trained += json.loads(done.stdout.splitlines()[-1])["epochs"]
    return Cost(seconds, trained)


def ours(data: Path, archs: tuple[str, ...], trials: int, ladder: str, spaces: Path, seed: int) -> Cost:
    """Search with `tune-brain search`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        options = (
            f"--configs {trials} --ladder {ladder} --image-size {SIZE} --weights none --seed {seed}".split()
        )
        chosen = [part for arch in archs for part in ("--arch", arch)]
        environment = {**os.environ, "TUNE_BRAIN_CACHE": f"{folder}/cache"}
        command = [*measure.PROGRAM, "search", "--data", str(data)]
        started = time.perf_counter()
        subprocess.run(
            [*command, "--out", str(out), "--spaces", str(spaces), *chosen, *options],
            check=True,
            capture_output=True,
            env=environment,
        )
        return Cost(time.perf_counter() - started, len(read(out / "epochs.jsonl", EpochRow)))


def per_epoch(search: Callable[[int], Cost], first_seed: int, costs: list[Cost]) -> float:
    """Search with the next seed, add what it took to the costs, and return its seconds per epoch."""
    costs.append(search(first_seed + len(costs)))
    return costs[-1].seconds / costs[-1].epochs


def same_batches(folder: Path) -> Path:
    """Write the space files with the plain script's batch size to a folder."""
    for file in (measure.ROOT / "search_spaces").glob("*.toml"):
        lines = file.read_text().splitlines()
        changed = ["batch_size = 32" if line.startswith("batch_size") else line for line in lines]
        (folder / file.name).write_text("\n".join(changed) + "\n")
    return folder


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--arch", choices=(*ARCHITECTURES, "all"), action="append")
    options.add_argument("--seed", type=int, default=0, help="seed of the first round")
    args = options.parse_args()
    trials, epochs, ladder = (2, 2, "1,2") if args.quick else (8, 12, "1,12")
    with tempfile.TemporaryDirectory() as folder:
        spaces = same_batches(Path(folder))
        for arch in args.arch or (*ARCHITECTURES, "all"):
            archs = ARCHITECTURES if arch == "all" else (arch,)
            is_deep = arch == "all" or arch.startswith("resnet")
            print(arch, flush=True)
            costs: dict[str, list[Cost]] = {"plain": [], "ours": []}
            arms = {
                "plain": lambda seed, archs=archs: plain(args.data, archs, trials, epochs, seed),
                "ours": lambda seed, archs=archs: ours(args.data, archs, trials, ladder, spaces, seed),
            }
            values = measure.alternate(
                {arm: partial(per_epoch, search, args.seed, costs[arm]) for arm, search in arms.items()},
                1 if args.quick else min(args.repeats, 3) if is_deep else args.repeats,
            )
            result = {}
            for arm, every in costs.items():
                result[f"{arm}: s"] = measure.spread([cost.seconds for cost in every])
                result[f"{arm}: epochs"] = measure.spread([cost.epochs for cost in every])
                result[f"{arm}: s an epoch"] = measure.spread(values[arm])
            seconds = {arm: [cost.seconds for cost in every] for arm, every in costs.items()}
            result["plain / ours, per epoch"] = measure.ratio(values["plain"], values["ours"])
            result["plain / ours, whole"] = measure.ratio(seconds["plain"], seconds["ours"])
            name = f"whole-search-{arch}" + (f"-from-seed-{args.seed}" if args.seed else "")
            measure.report(name, {"arch": arch, **result}, quick=args.quick)


if __name__ == "__main__":
    main()
