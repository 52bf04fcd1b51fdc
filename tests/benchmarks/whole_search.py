"""A whole search against the plain script: seconds for each epoch trained, start-up and decoding counted.

    python tests/benchmarks/whole_search.py [--quick] [--arch linear] [--data DIR] [--seed 0]

Eight configurations, 12 epochs, 64 px, batches of 32; ours on the default ladder with an empty cache, so that
decoding and the choice of the precision count too. `--arch all` searches the four together; the plain script
takes them one after another. Each round has a seed of its own, from --seed on: how well the trials of a
search fill two slots to its end is luck.
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
    """Seconds an epoch of the plain script."""
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
    """Seconds an epoch of `tune-brain search`."""
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
    """The space files with the plain script's batch size."""
    for file in (measure.ROOT / "search_spaces").glob("*.toml"):
        lines = file.read_text().splitlines()
        changed = ["batch_size = 32" if line.startswith("batch_size") else line for line in lines]
        (folder / file.name).write_text("\n".join(changed) + "\n")
    return folder


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--arch", choices=(*ARCHITECTURES, "all"), action="append")
    options.add_argument("--seed", type=int, default=0, help="of the first round")
    asked = options.parse_args()
    trials, epochs, ladder = (2, 2, "1,2") if asked.quick else (8, 12, "1,12")
    with tempfile.TemporaryDirectory() as folder:
        spaces = same_batches(Path(folder))
        for arch in asked.arch or (*ARCHITECTURES, "all"):
            archs = ARCHITECTURES if arch == "all" else (arch,)
            deep = arch == "all" or arch.startswith("resnet")
            print(arch, flush=True)
            first, second = itertools.count(asked.seed), itertools.count(asked.seed)
            values = measure.alternate(
                {
                    "plain": lambda archs=archs, at=first: plain(asked.data, archs, trials, epochs, next(at)),
                    "ours": lambda archs=archs, at=second: ours(
                        asked.data, archs, trials, ladder, spaces, next(at)
                    ),
                },
                1 if asked.quick else min(asked.repeats, 3) if deep else asked.repeats,
            )
            result = {f"{name}: s an epoch": measure.spread(every) for name, every in values.items()}
            result["plain / ours"] = measure.ratio(values["plain"], values["ours"])
            name = f"whole-search-{arch}" + (f"-from-seed-{asked.seed}" if asked.seed else "")
            measure.tell(name, {"arch": arch, **result}, quick=asked.quick)


if __name__ == "__main__":
    main()
