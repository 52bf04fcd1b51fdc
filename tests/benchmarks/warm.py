"""Does a warm start from an earlier search help? Replayed on pairs of tables.

    python tests/benchmarks/warm.py [--quick] [--tables results/tables] [--configs 24]

A default search on one table is followed by a search on another that starts with the best five configurations
of the first, and by the same search without them, --repeats times each (100). The earlier search is on the
other data set with the same architecture, on the same data set with each other architecture, or on the same
table with another seed, in which case the scores of configurations outside the table are drawn anew.

`over` is how far the winner is in truth above that of the search without a warm start, with the standard
error of the mean. `early` is the same for what would have been chosen after as many epochs as the baseline
and five more configurations train at full length.
"""

import copy
import dataclasses
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import measure
import numpy as np
import pandas as pd
from replay import DEFAULT, parser, score_after, tables

from tune_brain.search.outcomes import as_searched, read_outcomes
from tune_brain.search.replay import replay
from tune_brain.search.surrogate import Surrogate
from tune_brain.stages.replay import Variant, configured, replay_once
from tune_brain.stages.warm import FIRST, best_first, starting_with

EARLIER = 10_000
"""Added to the seed of the earlier search, so that a table is not searched twice in the same way."""

_tables: dict[str, Surrogate]


def _init_worker(tables: dict[str, Surrogate]) -> None:
    global _tables
    _tables = tables


def cold_and_warm(job: tuple[str, str, int, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """One replay of a search on the second table, without and with a warm start from the first.

    Args:
        job: names of the two tables, the number of configurations, and the seed of the replay.
    """
    before, after, configs, seed = job
    variant = Variant.model_validate({**DEFAULT, "configs": configs, "final_round": (3, 1)})
    old, new = _tables[before], _tables[after]
    config = configured(variant, old.outcomes.space.arch, seed + EARLIER)
    rows = [ended.row for ended in replay(old, config, variant.slots)]
    space = starting_with(new.outcomes.space, best_first(rows, config.full_length))
    # The surrogate depends on the outcomes alone, so only the first configurations of its space change.
    started = copy.copy(new)
    started.outcomes = dataclasses.replace(new.outcomes, space=space)
    warm = variant.model_copy(update={"warm_start": True})
    return replay_once(new, variant, seed), replay_once(started, warm, seed)


def pairs(names: list[str]) -> list[tuple[str, str]]:
    """Pairs (earlier, later) of tables that share the data set or the architecture, or are the same."""
    parts = {name: tuple(name.rsplit("-", 1)) for name in names}
    return [
        (before, after)
        for after in names
        for before in names
        if parts[before][0] == parts[after][0] or parts[before][1] == parts[after][1]
    ]


def main() -> None:
    args = parser(__doc__, configs=24).parse_args()
    repeats = 10 if args.quick else args.repeats
    runs = tables(args.tables)
    surrogates = {
        name: Surrogate(as_searched(read_outcomes(folders, name.rpartition("-")[2])))
        for name, folders in runs.items()
    }
    lines = []
    with ProcessPoolExecutor(
        mp_context=get_context("spawn"), initializer=_init_worker, initargs=(surrogates,)
    ) as pool:
        for before, after in pairs(list(surrogates)):
            jobs = [(before, after, args.configs, seed) for seed in range(repeats)]
            replays = list(pool.map(cold_and_warm, jobs))
            early = surrogates[after].outcomes.full_length * (1 + FIRST)
            over = np.array([warm["realised"] - cold["realised"] for cold, warm in replays])
            sooner = np.array(
                [_score_after(warm, early) - _score_after(cold, early) for cold, warm in replays]
            )
            lines.append(
                {
                    "table": after,
                    "after": before,
                    "cold": np.mean([cold["realised"] for cold, _ in replays]),
                    "over": over.mean(),
                    "over_se": over.std(ddof=1) / len(over) ** 0.5,
                    "early": sooner.mean(),
                    "early_se": sooner.std(ddof=1) / len(sooner) ** 0.5,
                    "epochs_cold": np.mean([cold["epochs"][-1] for cold, _ in replays]),
                    "epochs_warm": np.mean([warm["epochs"][-1] for _, warm in replays]),
                }
            )
            print(pd.DataFrame(lines[-1:]).round(4).to_string(index=False), flush=True)
    results = {"repeats": repeats, "pairs": pd.DataFrame(lines).round(4).to_dict("records")}
    measure.report("warm", {"configurations": args.configs, **results}, quick=args.quick)


def _score_after(repeat: dict[str, Any], epochs: float) -> float:
    return score_after({"repeats": [repeat]}, epochs)


if __name__ == "__main__":
    main()
