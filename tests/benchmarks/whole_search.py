"""A whole search against the plain script: seconds per epoch trained, including start-up and decoding.

    python tests/benchmarks/whole_search.py [--quick] [--arch linear] [--data DIR] [--seed 0]

Eight configurations, 12 epochs, 64 px, batches of 32. Ours uses the default ladder and an empty cache, so
decoding and the choice of the precision count too. `--arch all` searches the four architectures together; the
plain script takes them one after another. Each round has its own seed, counted from --seed: how well the
trials of a search fill two slots until its end is a matter of luck.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

from tune_brain.config import ARCHITECTURES
from tune_brain.records import EpochRow, read

SIZE = 64
PLAIN = Path(__file__).with_name("plain_search.py")


def plain(data: Path, archs: tuple[str, ...], trials: int, epochs: int, seed: int) -> float:
    """Seconds per epoch of the plain script."""
    seconds, trained = 0.0, 0
    for arch in archs:
        options = [str(data), arch, str(trials), str(epochs), str(SIZE), str(seed)]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(PLAIN), *options], check=True, capture_output=True, text=True
        )
        seconds += time.perf_counter() - started
        trained += json.loads(done.stdout.splitlines()[-1])["epochs"]
    return seconds / trained


def ours(data: Path, archs: tuple[str, ...], trials: int, ladder: str, spaces: Path, seed: int) -> float:
    """Seconds per epoch of `tune-brain search`."""
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
        return (time.perf_counter() - started) / len(read(out / "epochs.jsonl", EpochRow))


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
            seeds, same_seeds = itertools.count(args.seed), itertools.count(args.seed)
            values = measure.alternate(
                {
                    "plain": lambda archs=archs, at=seeds: plain(args.data, archs, trials, epochs, next(at)),
                    "ours": lambda archs=archs, at=same_seeds: ours(
                        args.data, archs, trials, ladder, spaces, next(at)
                    ),
                },
                1 if args.quick else min(args.repeats, 3) if is_deep else args.repeats,
            )
            result = {f"{name}: s an epoch": measure.spread(seconds) for name, seconds in values.items()}
            result["plain / ours"] = measure.ratio(values["plain"], values["ours"])
            name = f"whole-search-{arch}" + (f"-from-seed-{args.seed}" if args.seed else "")
            measure.report(name, {"arch": arch, **result}, quick=args.quick)


if __name__ == "__main__":
    main()
