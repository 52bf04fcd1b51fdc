"""Does a search do better that begins with what an earlier one found? Replayed on two tables of outcomes.

    python tests/benchmarks/warm.py [--quick] [--tables results/tables] [--configs 24]

A default search on one table is followed by one on another, which begins with the best five of the first, and
compared with the same search without them, --repeats times each (100): of the other set with the same
architecture, of the same set with each other architecture, and of the same table with another seed, in which
what lies off the table is guessed anew. `over` is how far the winner is in truth above that of the search
without, with the standard error of the mean; `early` the same of what would have been chosen after as many
epochs as the baseline and five configurations more train at full length.
"""

import copy
import dataclasses
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import measure
import numpy as np
import pandas as pd
from replay import DEFAULT, held, parser, tables

from tune_brain.search.outcomes import as_searched, read_outcomes
from tune_brain.search.replay import replay
from tune_brain.search.surrogate import Surrogate
from tune_brain.stages.replay import Variant, configured, replay_once
from tune_brain.stages.warm import FIRST, beginning, best_first

EARLIER = 10_000
"""Added to the seed of the earlier search, so that the same images are not searched twice in one way."""

_tables: dict[str, Surrogate]


def _take(tables: dict[str, Surrogate]) -> None:
    global _tables
    _tables = tables


def cold_and_warm(job: tuple[str, str, int, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """One replay of a search of the second table, alone and after one of the first.

    Args:
        job: names of the two tables, configurations, and the replay's seed.
    """
    before, after, configs, seed = job
    variant = Variant.model_validate({**DEFAULT, "configs": configs, "final_round": (3, 1)})
    old, new = _tables[before], _tables[after]
    config = configured(variant, old.outcomes.space.arch, seed + EARLIER)
    rows = [ended.row for ended in replay(old, config, variant.slots)]
    space = beginning(new.outcomes.space, best_first(rows, config.epochs))
    # What the surrogate has learned is of the outcomes alone; the space only says where a search begins.
    begun = copy.copy(new)
    begun.outcomes = dataclasses.replace(new.outcomes, space=space)
    warm = variant.model_copy(update={"warm_start": True})
    return replay_once(new, variant, seed), replay_once(begun, warm, seed)


def pairs(names: list[str]) -> list[tuple[str, str]]:
    """Each table after itself, after the same architecture's elsewhere, and after others of its images."""
    places = {name: tuple(name.rsplit("-", 1)) for name in names}
    return [
        (before, after)
        for after in names
        for before in names
        if places[before][0] == places[after][0] or places[before][1] == places[after][1]
    ]


def main() -> None:
    asked = parser(__doc__, configs=24).parse_args()
    repeats = 10 if asked.quick else asked.repeats
    runs = tables(asked.tables)
    surrogates = {
        name: Surrogate(as_searched(read_outcomes(folders, name.rpartition("-")[2])))
        for name, folders in runs.items()
    }
    lines = []
    with ProcessPoolExecutor(
        mp_context=get_context("spawn"), initializer=_take, initargs=(surrogates,)
    ) as pool:
        for before, after in pairs(list(surrogates)):
            jobs = [(before, after, asked.configs, seed) for seed in range(repeats)]
            both = list(pool.map(cold_and_warm, jobs))
            early = surrogates[after].outcomes.full_length * (1 + FIRST)
            over = np.array([warm["realised"] - cold["realised"] for cold, warm in both])
            sooner = np.array([held_by(warm, early) - held_by(cold, early) for cold, warm in both])
            lines.append(
                {
                    "table": after,
                    "after": before,
                    "cold": np.mean([cold["realised"] for cold, _ in both]),
                    "over": over.mean(),
                    "over_se": over.std(ddof=1) / len(over) ** 0.5,
                    "early": sooner.mean(),
                    "early_se": sooner.std(ddof=1) / len(sooner) ** 0.5,
                    "epochs_cold": np.mean([cold["epochs"][-1] for cold, _ in both]),
                    "epochs_warm": np.mean([warm["epochs"][-1] for _, warm in both]),
                }
            )
            print(pd.DataFrame(lines[-1:]).round(4).to_string(index=False), flush=True)
    told = {"repeats": repeats, "pairs": pd.DataFrame(lines).round(4).to_dict("records")}
    measure.tell("warm", {"configurations": asked.configs, **told}, quick=asked.quick)


def held_by(repeat: dict[str, Any], epochs: float) -> float:
    """The true score of what one replay would have chosen after so many epochs."""
    return held({"repeats": [repeat]}, epochs)


if __name__ == "__main__":
    main()
