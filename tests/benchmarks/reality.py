"""Replay held against reality: real searches inside the band of their replays.

    python tests/benchmarks/reality.py TO --table sartaj-linear --data DATA/sartaj [--quick]

For each of three samplers a real search of 32 configurations on the default ladder, on the images and their
cut of a table (`tests/benchmarks/tables.py`), and --repeats (100) replays of the same on the table. What both
show after each trial is how the configuration that would be chosen then has scored. Told is the share of
the real search's trials after which that lies within 90 % of the replays, at as many epochs trained.
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
"""Epochs trained and the score of the choice, after each trial that ended with a choice standing."""

_surrogate: Surrogate


def _take(folders: list[Path], arch: str) -> None:
    global _surrogate
    _surrogate = Surrogate(as_searched(read_outcomes(folders, arch)))


def curve(rows: Iterable[TrialRow], full_length: int) -> Curve:
    """What a search showed after each of its trials, in the order in which they ended."""
    ended: list[TrialRow] = []
    spent, found = 0, Curve()
    for row in rows:
        ended.append(row)
        spent += row.epochs
        if chosen := choose(ended, full_length):
            found.append((spent, fmean(chosen.scores)))
    return found


def replayed(config: RunConfig, slots: int, seed: int) -> Curve:
    """One replay of a search."""
    own = config.model_copy(update={"seed": seed})
    return curve((ended.row for ended in replay(_surrogate, own, slots)), config.epochs)


def at(found: Curve, epochs: int) -> float:
    """The score shown when so many epochs had been trained; NaN before the first."""
    shown = [score for spent, score in found if spent <= epochs]
    return shown[-1] if shown else float("nan")


def searched(out: Path, run: runs.Run, data: Path, sampler: str, configs: int) -> runs.Run:
    """A real search on a table's cut; one that was interrupted goes on."""
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
    asked = options.parse_args()
    folders, arch = sorted(asked.tables.glob(f"{asked.table}-*")), asked.table.rpartition("-")[2]
    table = runs.open_run(folders[0])
    repeats, configs = (10, 6) if asked.quick else (asked.repeats, 32)
    pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_take, initargs=(folders, arch))
    result = {}
    for sampler in SAMPLERS:
        run = searched(asked.to / f"{asked.table}-{sampler}", table, asked.data, sampler, configs)
        rows = trials_of(run.folder)
        ended = sorted(
            (row for row in rows if row.state != "running"), key=lambda row: row.started + row.seconds
        )
        real = curve(ended, run.config.epochs)
        curves = list(pool.map(replayed, repeat(run.config), repeat(2), range(1, repeats + 1)))
        inside, last = [], (0.0, 0.0)
        for epochs, score in real:
            shown = np.array([at(one, epochs) for one in curves])
            last = tuple(np.nanquantile(shown, BAND)) if np.isfinite(shown).any() else (np.nan, np.nan)
            inside.append(bool(last[0] <= score <= last[1]))
        result[sampler] = {
            "trials": len(real),
            "inside": round(fmean(inside), 3),
            "at the end": round(real[-1][1], 4),
            "band at the end": [round(float(end), 4) for end in last],
        }
        print(sampler, result[sampler], flush=True)
    measure.tell(f"reality-{asked.table}", result, quick=asked.quick)


if __name__ == "__main__":
    main()
