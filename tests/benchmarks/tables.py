"""Make the tables for replay: every configuration at full length with two seeds, and as shorter cycles.

    python tests/benchmarks/tables.py TO [--data DIR] [--arch cnn] [--set sartaj] [--length 12] [--again 1]

Scrambled-Halton configurations (64 of linear, 48 of cnn, 20 of resnet18) and the baseline, on `sartaj` and
on 40 % of the training groups of `nickparvar`, at 48 px. Each table is a run of tune_brain. An interrupted
one is resumed, so this program may be stopped at any time; all of them together take machine-hours. --again
is the number of further seeds for each configuration (1 at full length, none at other lengths); a finished
table that has fewer is extended.
"""

import argparse
import os
import shutil
import subprocess
from pathlib import Path

import measure
import numpy as np

from tune_brain.data.cache import decode
from tune_brain.data.catalogue import scan
from tune_brain.data.groups import join
from tune_brain.data.series import in_blocks, ordered_series
from tune_brain.data.split import cut
from tune_brain.data.twins import twin_groups
from tune_brain.files import write_text
from tune_brain.records import EpochRow, TrialRow, read
from tune_brain.runs import open_run
from tune_brain.stages.preconditions import unfinished

CONFIGURATIONS = {"cnn": 48, "resnet18": 20, "linear": 64}
PRECISIONS = {"cnn": "bf16", "resnet18": "bf16", "linear": "fp32"}
SETS = ("sartaj", "nickparvar")
LENGTHS = (12, 3, 6, 1)
SHARE = 0.4
SIZE = 48


def forty_percent(root: Path, copy: Path) -> Path:
    """Copy all test images and a fixed share of the training images, whole groups at a time."""
    if copy.is_dir():
        return copy
    unfinished_copy = copy.with_name(f".{copy.name}")
    shutil.rmtree(unfinished_copy, ignore_errors=True)
    catalogue = scan(root)
    decoded, failures = decode([root / image.name for image in catalogue.images], 32)
    assert not failures, failures
    names = [image.name for image in catalogue.images]
    twins, _ = twin_groups(decoded.digests, decoded.thumbnails)
    groups = join(twins, in_blocks(len(names), ordered_series(names, decoded.thumbnails)))
    training = np.array([image.part == "train" for image in catalogue.images])
    labels = np.array([image.label for image in catalogue.images])
    kept = ~training
    kept[training] = cut(labels[training], groups[training], SHARE, seed=0)
    for name in np.array(names)[kept]:
        (unfinished_copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, unfinished_copy / name)
    unfinished_copy.rename(copy)
    return copy


def table(folder: Path, data: Path, arch: str, length: int, again: int) -> None:
    """Search `arch` at one length; resume an interrupted search, extend one that has fewer seeds."""
    configurations = CONFIGURATIONS[arch]
    # All configurations are finalists, the baseline included.
    final = f"--final-round {configurations + 1 if again else 0}x{again}"
    if (folder / "run.toml").exists():
        run = open_run(folder)
        if min(run.config.final_round) < again:
            subprocess.run([*measure.PROGRAM, "extend", str(folder), *final.split()], check=True)
        elif unfinished(run):
            subprocess.run([*measure.PROGRAM, "resume", str(folder)], check=True)
        return
    options = (
        f"--arch {arch} --configs {configurations} --ladder {length} --sampler halton --image-size {SIZE} "
        f"--precision {PRECISIONS[arch]}"
    )
    subprocess.run(
        [
            *measure.PROGRAM,
            "search",
            "--data",
            str(data),
            "--out",
            str(folder),
            *options.split(),
            *final.split(),
        ],
        check=True,
    )


def compact(folder: Path) -> None:
    """Keep only the last row of each trial, and four digits of each epoch metric except the score."""
    trials = folder / "trials.jsonl"
    rows = read(trials, TrialRow)
    last = {row.trial: row for row in rows}
    latest = [row for row in rows if row is last[row.trial]]
    write_text(trials, "".join(row.model_dump_json(exclude_defaults=True) + "\n" for row in latest))
    epochs = folder / "epochs.jsonl"
    lines = []
    for epoch in read(epochs, EpochRow):
        values = epoch.model_dump(exclude={"val_macro_f1"})
        rounded = {name: float(f"{value:.4g}") for name, value in values.items() if isinstance(value, float)}
        lines.append(epoch.model_copy(update=rounded).model_dump_json() + "\n")
    write_text(epochs, "".join(lines))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("to", type=Path)
    options.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("TUNE_BRAIN_DATA", "data")),
        help="folder with both data sets",
    )
    options.add_argument("--arch", choices=CONFIGURATIONS, action="append")
    options.add_argument("--set", choices=SETS, action="append")
    options.add_argument("--length", type=int, choices=LENGTHS, action="append")
    options.add_argument("--again", type=int)
    args = options.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    for arch in args.arch or CONFIGURATIONS:
        for name in args.set or SETS:
            data = args.data / name
            if name == "nickparvar":
                data = forty_percent(data, args.to / "nickparvar-40")
            for length in args.length or LENGTHS:
                again = int(length == max(LENGTHS)) if args.again is None else args.again
                folder = args.to / f"{data.name}-{arch}-{length}"
                table(folder, data, arch, length, again)
                compact(folder)


if __name__ == "__main__":
    main()
