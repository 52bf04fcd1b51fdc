"""The effect of each tuned hyperparameter on the score, on `results/tables` and beyond the ranges.

    python tests/benchmarks/axes.py [--quick] [--arch cnn] [--data DIR]

On each table: the share of the scores' variance that a cubic in the logarithm of the learning rate explains,
and the Spearman correlation of the residuals with weight decay and clip. Then the untuned baseline is trained
with one of these two changed at a time, also to values outside its range: 48 px, 12 epochs, macro-F1 on
validation after the last, several seeds.
"""

import itertools
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import measure
import numpy as np
import torch
from scipy.stats import spearmanr

from tune_brain import space
from tune_brain.config import ARCHITECTURES
from tune_brain.data.prepare import prepare
from tune_brain.errors import Diverged
from tune_brain.models import build
from tune_brain.records import TrialRow, trials_of
from tune_brain.seeds import derive
from tune_brain.train.fit import fit
from tune_brain.train.precision import faster_precision
from tune_brain.train.process import make_ready
from tune_brain.train.training import begin

SIZE, EPOCHS = 48, 12
TABLES = measure.ROOT / "results" / "tables"
VALUES = {
    "weight_decay": (1e-6, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0),
    "grad_clip": (0.01, 0.05, 0.3, 1.0, 10.0),
}


def on_tables() -> dict[str, Any]:
    """By table, the variance explained by the learning rate and the rank correlations with the residuals."""
    results = {}
    for folder in sorted(TABLES.glob(f"*-{EPOCHS}")):
        by_configuration: dict[int, list[TrialRow]] = {}
        for row in trials_of(folder):
            if row.score is not None:
                by_configuration.setdefault(row.configuration, []).append(row)
        scores = np.array([fmean(row.score or 0.0 for row in rows) for rows in by_configuration.values()])
        logs = {
            name: np.log([rows[0].values[name] for rows in by_configuration.values()])
            for name in ("max_lr", *VALUES)
        }
        rate = (logs["max_lr"] - logs["max_lr"].mean()) / logs["max_lr"].std()
        residuals = scores - np.polyval(np.polyfit(rate, scores, 3), rate)
        results[folder.name.removesuffix(f"-{EPOCHS}")] = {
            "configurations": len(scores),
            "explained by the learning rate": round(1 - float(residuals.var() / scores.var()), 2),
            **{f"{name}, the rest": round(float(spearmanr(logs[name], residuals)[0]), 2) for name in VALUES},
        }
    return results


def trained(data: Path, arch: str, changed: dict[str, float], seed: int, epochs: int) -> float | None:
    """Macro-F1 of the untuned baseline with one hyperparameter changed; None if it diverges."""
    make_ready()
    prepared = prepare(data, image_size=SIZE, seed=0)
    of_arch = space.load(space.default_folder(), [arch])[arch]
    hyperparameters = of_arch.hyperparameters(of_arch.baseline).model_copy(update=changed)
    config = of_arch.trial(
        of_arch.baseline,
        epochs=epochs,
        image_size=SIZE,
        classes=len(prepared.classes),
        seed=derive(seed, arch, "axes"),
        precision=faster_precision(arch, SIZE, len(prepared.classes), "cpu"),
    ).model_copy(update={"hyperparameters": hyperparameters})
    try:
        rows = list(fit(begin(build(config, None), config, prepared.development(), torch.device("cpu"))))
    except Diverged:
        return None
    return rows[-1]["val_macro_f1"]


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--arch", choices=ARCHITECTURES, action="append")
    args = options.parse_args()
    seeds, epochs = (2, 1) if args.quick else (args.repeats, EPOCHS)
    result: dict[str, Any] = {"tables": on_tables()}
    prepare(args.data, image_size=SIZE, seed=0)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        for arch in args.arch or ("linear", "cnn"):
            jobs = [
                (name, value, seed)
                for name, values in VALUES.items()
                for value, seed in itertools.product(values, range(seeds))
            ]
            scores: dict[str, list[float]] = {f"{name} {value:g}": [] for name, value, _ in jobs}
            futures = [pool.submit(trained, args.data, arch, {n: v}, seed, epochs) for n, v, seed in jobs]
            for (name, value, _), future in zip(jobs, futures, strict=True):
                if (score := future.result()) is not None:
                    scores[f"{name} {value:g}"].append(score)
            result[arch] = {
                setting: {"mean": round(fmean(values), 4), "sd": round(stdev(values), 4), "n": len(values)}
                if len(values) == seeds
                else {"diverged": seeds - len(values)}
                for setting, values in scores.items()
            }
            print(arch, result[arch], flush=True)
    measure.report(f"axes-{args.data.name}", result, quick=args.quick)


if __name__ == "__main__":
    main()
