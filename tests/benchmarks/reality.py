"""Replay against reality: do real searches stay within the band of their replays?

    python tests/benchmarks/reality.py TO --table sartaj-linear --data DATA/sartaj [--quick]

For each of three samplers, a real search of 32 configurations on the default ladder, on the images and the
split of a table (`tests/benchmarks/tables.py`), is compared with --repeats (100) replays of the same search
on the table. The curve of a search is, after each trial, the score of the configuration that it would choose
then. The result is the share of the real search's trials after which its curve lies within the central 90 %
of the replays at the same number of epochs.
"""

import subprocess
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import measure
import numpy as np

from tune_brain import runs
from tune_brain.config import RunConfig
from tune_brain.evaluate.winners import choose
from tune_brain.records import TrialRow, trials_of
from tune_brain.report.replays import BAND
from tune_brain.search.outcomes import as_searched, read_outcomes
from tune_brain.search.replay import replay
from tune_brain.search.surrogate import Surrogate

SAMPLERS = ("tpe", "random", "halton-tpe")
Curve = list[tuple[int, float]]
"""Epochs trained and score of the current choice, after each trial from the first choice on."""

_surrogate: Surrogate


def _init_worker(folders: list[Path], arch: str) -> None:
    global _surrogate
    _surrogate = Surrogate(as_searched(read_outcomes(folders, arch)))


def curve(rows: Iterable[TrialRow], full_length: int) -> Curve:
    """The curve of a search.

    Args:
        rows: its trials, in the order in which they ended.
        full_length: in epochs.
    """
    ended: list[TrialRow] = []
    spent, points = 0, Curve()
    for row in rows:
        ended.append(row)
        spent += row.epochs
        if chosen := choose(ended, full_length):
            points.append((spent, fmean(chosen.scores)))
    return points


def replayed(config: RunConfig, slots: int, seed: int) -> Curve:
    """The curve of one replay of a search."""
    seeded = config.model_copy(update={"seed": seed})
    return curve((ended.row for ended in replay(_surrogate, seeded, slots)), config.full_length)


def score_at(points: Curve, epochs: int) -> float:
    """The score of a curve after this many epochs; NaN before its first choice."""
    scores = [score for spent, score in points if spent <= epochs]
    return scores[-1] if scores else float("nan")


def searched(out: Path, run: runs.Run, data: Path, sampler: str, configs: int) -> runs.Run:
    """Run a real search on a table's split, or resume it if it was interrupted."""
    if (out / "run.toml").exists():
        subprocess.run([*measure.PROGRAM, "resume", str(out)], check=True)
    else:
        options = f"--image-size {run.config.image_size} --seed {run.config.seed}"
        options += f" --precision {run.config.precision} --arch {run.config.arch[0]}"
        options += f" --configs {configs} --sampler {sampler}"
        command = [*measure.PROGRAM, "search", "--data", str(data), "--out", str(out), *options.split()]
        subprocess.run(command, check=True)
    return runs.open_run(out)


def main() -> None:
    options = measure.parser(__doc__)
    options.set_defaults(repeats=100)
    options.add_argument("to", type=Path)
    options.add_argument("--tables", type=Path, default=measure.ROOT / "results" / "tables")
    options.add_argument("--table", required=True)
    args = options.parse_args()
    folders, arch = sorted(args.tables.glob(f"{args.table}-*")), args.table.rpartition("-")[2]
    table = runs.open_run(folders[0])
    repeats, configs = (10, 6) if args.quick else (args.repeats, 32)
    pool = ProcessPoolExecutor(
        mp_context=get_context("spawn"), initializer=_init_worker, initargs=(folders, arch)
    )
    result = {}
    for sampler in SAMPLERS:
        run = searched(args.to / f"{args.table}-{sampler}", table, args.data, sampler, configs)
        rows = trials_of(run.folder)
        ended = sorted(
            (row for row in rows if row.state != "running"), key=lambda row: row.started + row.seconds
        )
        real = curve(ended, run.config.full_length)
        curves = list(pool.map(replayed, repeat(run.config), repeat(2), range(1, repeats + 1)))
        inside, band = [], (0.0, 0.0)
        for epochs, score in real:
            scores_there = np.array([score_at(replayed_curve, epochs) for replayed_curve in curves])
            band = (
                tuple(np.nanquantile(scores_there, BAND))
                if np.isfinite(scores_there).any()
                else (np.nan, np.nan)
            )
            inside.append(bool(band[0] <= score <= band[1]))
        result[sampler] = {
            "trials": len(real),
            "inside": round(fmean(inside), 3),
            "at the end": round(real[-1][1], 4),
            "band at the end": [round(float(end), 4) for end in band],
        }
        print(sampler, result[sampler], flush=True)
    measure.report(f"reality-{args.table}", result, quick=args.quick)


if __name__ == "__main__":
    main()
