"""Short cycles continued by new cycles, against complete ones: how they rank, and what they score.

    python tests/benchmarks/continued.py --table sartaj-linear --data DATA/sartaj [--quick]

The first configurations of a table (`tests/benchmarks/tables.py`) are trained for a one-cycle of 3 epochs,
then, with the same weights and a new optimizer, for another of 3 and another of 6: twelve epochs in total, so
a ladder 3,6,12 would waste none of them. The table has the complete cycles of the same configurations. Each
score is correlated (Spearman) with the full-length score of another seed.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import measure
import torch
from scipy.stats import spearmanr

from tune_brain import runs
from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development
from tune_brain.data.prepare import prepare
from tune_brain.errors import Diverged
from tune_brain.models import build
from tune_brain.records import trials_of
from tune_brain.seeds import derive
from tune_brain.train.fit import fit
from tune_brain.train.training import begin

CYCLES = (3, 3, 6)
RUNGS = tuple(accumulate(CYCLES))

_development: Development


def _init_worker(data: Path, image_size: int, seed: int) -> None:
    global _development
    torch.set_num_threads(1)
    _development = prepare(data, image_size=image_size, seed=seed).development()


def chain(config: TrialConfig, cycles: Sequence[int]) -> list[float]:
    """Macro-F1 on validation after each of the cycles; 0 from the cycle that diverged on."""
    scores: list[float] = []
    model = build(config, None)
    for number, epochs in enumerate(cycles):
        of_cycle = config.model_copy(update={"epochs": epochs, "seed": derive(config.seed, "cycle", number)})
        try:
            rows = list(fit(begin(model, of_cycle, _development, torch.device("cpu"))))
        except Diverged:
            return [*scores, *[0.0] * (len(cycles) - number)]
        scores.append(rows[-1]["val_macro_f1"])
    return scores


def complete(folders: Mapping[int, Path]) -> dict[int, dict[int, list[float]]]:
    """The table's scores by configuration and length, ordered by seed; diverged trials score 0."""
    by_configuration: dict[int, dict[int, list[float]]] = {}
    for length, folder in folders.items():
        rows = trials_of(folder)
        for row in sorted(rows, key=lambda row: row.repeat):
            if row.score is not None or row.why == "diverged":
                of_configuration = by_configuration.setdefault(row.configuration, {})
                of_configuration.setdefault(length, []).append(row.score or 0.0)
    return by_configuration


def columns(
    chains: Sequence[Sequence[float]], table: Sequence[Mapping[int, Sequence[float]]]
) -> Iterator[tuple[str, list[float]]]:
    """The predictors of the ranking: name, and the score of each configuration."""
    for index, rung in enumerate(RUNGS):
        yield f"continued {rung}", [scores[index] for scores in chains]
        if all(rung in scores for scores in table):
            yield f"complete {rung}", [scores[rung][0] for scores in table]


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--tables", type=Path, default=measure.ROOT / "results" / "tables")
    options.add_argument("--table", required=True)
    options.add_argument("--configurations", type=int, default=20)
    options.add_argument("--processes", type=int, default=2)
    args = options.parse_args()
    lengths = (int(folder.name.rpartition("-")[2]) for folder in args.tables.glob(f"{args.table}-*"))
    folders = {length: args.tables / f"{args.table}-{length}" for length in sorted(lengths)}
    run, arch = runs.open_run(folders[RUNGS[-1]]), args.table.rpartition("-")[2]
    rows = trials_of(run.folder)
    by_configuration = complete(folders)
    two_seeds = [number for number, scores in by_configuration.items() if len(scores.get(RUNGS[-1], [])) > 1]
    chosen = sorted(two_seeds)[: 4 if args.quick else args.configurations]
    values = {row.configuration: row.values for row in rows}
    configs = [
        run.spaces[arch].trial(
            values[number],
            epochs=RUNGS[-1],
            image_size=run.config.image_size,
            classes=4,
            seed=derive(run.config.seed, arch, number, "continued"),
            precision=run.config.precision,
        )
        for number in chosen
    ]
    cycles = (1, 1, 1) if args.quick else CYCLES
    pool = ProcessPoolExecutor(
        args.processes,
        mp_context=get_context("spawn"),
        initializer=_init_worker,
        initargs=(args.data, run.config.image_size, run.config.seed),
    )
    with pool:
        chains = list(pool.map(chain, configs, [cycles] * len(configs)))
    table = [by_configuration[number] for number in chosen]
    second_seed = [complete_scores[RUNGS[-1]][1] for complete_scores in table]
    differences = [
        continued[-1] - fmean(complete_scores[RUNGS[-1]][:2])
        for continued, complete_scores in zip(chains, table, strict=True)
    ]
    result: dict[str, Any] = {
        "table": args.table,
        "n": len(chosen),
        "correlation with another full-length seed": {
            name: round(float(spearmanr(column, second_seed).statistic), 3)
            for name, column in columns(chains, table)
        },
        "mean": {name: round(fmean(column), 4) for name, column in columns(chains, table)},
        "best": {name: round(max(column), 4) for name, column in columns(chains, table)},
        "continued - complete at full length, mean": fmean(differences),
        "standard error": stdev(differences) / len(differences) ** 0.5,
    }
    measure.report(f"continued-{args.table}", result, quick=args.quick)


if __name__ == "__main__":
    main()
