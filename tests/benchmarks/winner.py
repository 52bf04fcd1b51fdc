"""Which rule picks the winner of a search: how far it is from what was promised, and from the baseline.

    python tests/benchmarks/winner.py [--quick] [--table sartaj-cnn] [--tables results/tables] [--configs 64]

Default searches are replayed on the tables of tests/benchmarks/tables.py, with other final rounds, --repeats
times each (100), and every rule picks from the same rows. `true` is what its pick is worth with other seeds,
`promised` how far what it says is above that on the mean, `off` without sign, `below` the share of picks that
are worth less than the untuned baseline, and `over` how far the pick is in truth above that of the product's
rule in the same replays. Where the final round says "and the baseline", that one is trained again as often as
the finalists, whatever it scored. What ends in `_se` are standard errors over the replays; what the tables
leave open of their own truth is not in them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import fmean
from typing import Any, NamedTuple

import measure
import numpy as np
import pandas as pd
from replay import DEFAULT, TRIALS, parser, tables

from tune_brain.evaluate.shrinkage import expected
from tune_brain.evaluate.winners import choose, full_scores
from tune_brain.records import BASELINE, TrialRow
from tune_brain.search.outcomes import as_searched, place, read_outcomes
from tune_brain.search.replay import replay
from tune_brain.search.surrogate import Surrogate
from tune_brain.search.surrogate import _fit as smooth
from tune_brain.space import Space
from tune_brain.stages.replay import Variant, configured

FINAL_ROUNDS = ((0, 0), (3, 1), (3, 2))
OURS = "the best mean"


class Full(NamedTuple):
    """What a search knows of the configurations that came to full length, by number."""

    space: Space
    values: Mapping[int, Mapping[str, float]]
    scores: Mapping[int, Sequence[float]]
    standing: Sequence[int]
    """Those with the most scores."""
    ours: int
    """The product's choice."""


Pick = tuple[int, float | None]
"""The number of a configuration, and the score that the rule promises of it; None: it cannot say."""


def best_score(full: Full) -> Pick:
    """The best first score, as a search without a final round and without a doubt."""
    best = max(full.scores, key=lambda number: full.scores[number][0])
    return best, full.scores[best][0]


def best_mean(full: Full) -> Pick:
    """The product's: the best mean of the finalists, with what is expected of it."""
    found = expected(full.scores, full.ours)
    return full.ours, found.mean if found else None


def as_it_scored(full: Full) -> Pick:
    """The product's pick, with the mean of its scores as the promise."""
    return full.ours, fmean(full.scores[full.ours])


def one_standard_error(full: Full) -> Pick:
    """Of the finalists within one standard error of the best mean the one nearest to the baseline.

    Breiman et al., Classification and Regression Trees, 1984, section 3.4.3, with the distance from the
    baseline, in the space's own measure, for simplicity.
    """
    found = expected(full.scores, full.ours)
    if found is None:
        return full.ours, None
    least = fmean(full.scores[full.ours]) - found.noise / math.sqrt(len(full.scores[full.ours]))
    close = [number for number in full.standing if fmean(full.scores[number]) >= least]
    middle = place(full.space, full.space.baseline)
    pick = min(close, key=lambda one: float(np.linalg.norm(place(full.space, full.values[one]) - middle)))
    chosen = expected(full.scores, pick)
    return pick, chosen.mean if chosen else None


def unless_clearly_better(full: Full) -> Pick:
    """The baseline, unless the best mean is above its own by one standard error of their difference."""
    found = expected(full.scores, full.ours)
    if found is None:
        return full.ours, None
    ours, plain = full.scores[full.ours], full.scores.get(BASELINE, (0.0,))
    error = found.noise * math.sqrt(1 / len(ours) + 1 / len(plain))
    pick = full.ours if fmean(ours) - fmean(plain) > error or BASELINE not in full.scores else BASELINE
    chosen = expected(full.scores, pick)
    return pick, chosen.mean if chosen else None


def best_expected(full: Full) -> Pick:
    """The best expected score of all that came to full length, each drawn to their mean by its own seeds."""
    # Of those with as many seeds the best mean is the best expected.
    by_count: dict[int, int] = {}
    for number in sorted(full.scores, key=lambda number: fmean(full.scores[number])):
        by_count[len(full.scores[number])] = number
    hopes = {number: expected(full.scores, number) for number in by_count.values()}
    known = {number: hope.mean for number, hope in hopes.items() if hope}
    if not known:
        return full.ours, None
    best = max(known, key=lambda number: known[number])
    return best, known[best]


def best_smooth(full: Full) -> Pick:
    """The best mean of a Gaussian process through all full-length scores, of those that were trained.

    It is at home here: the truth of the tables is smooth by a Gaussian process of the same kind.
    """
    numbers = [number for number, scores in full.scores.items() for _ in scores]
    if len(numbers) < 4:
        return full.ours, None
    places = np.array([place(full.space, full.values[number]) for number in numbers])
    model = smooth(places, np.array([score for scores in full.scores.values() for score in scores]))
    means = dict(zip(numbers, model.predict(places).tolist(), strict=True))
    best = max(means, key=lambda number: means[number])
    return best, means[best]


RULES: Mapping[str, Callable[[Full], Pick]] = {
    "the best first score": best_score,
    OURS: best_mean,
    "the best mean, as it scored": as_it_scored,
    "within one standard error, nearest the baseline": one_standard_error,
    "the baseline, unless clearly worse": unless_clearly_better,
    "the best expected score of all": best_expected,
    "the best of a Gaussian process": best_smooth,
}

_own: Surrogate


def _take(own: Surrogate) -> None:
    global _own
    _own = own


def one_search(job: tuple[tuple[int, int], bool, int, int]) -> list[dict[str, Any]]:
    """What each rule picks from one replayed search.

    Args:
        job: the final round, whether the baseline is in it, configurations, and the replay's seed.
    """
    final, with_baseline, configs, seed = job
    variant = Variant.model_validate({**DEFAULT, "configs": configs, "final_round": final})
    space = _own.outcomes.space
    config = configured(variant, space.arch, seed)
    rows = [ended.row for ended in replay(_own, config, variant.slots)]
    spent = sum(row.epochs for row in rows)
    while with_baseline and (more := _more_of_the_baseline(rows, config.epochs, final[1], seed)):
        rows.append(more)
        spent += more.epochs
    chosen = choose(rows, config.epochs)
    if chosen is None:
        return []
    scores = full_scores(rows, config.epochs)
    most = max(map(len, scores.values()))
    full = Full(
        space=space,
        values={row.configuration: row.values for row in rows},
        scores=scores,
        standing=[number for number in scores if len(scores[number]) == most],
        ours=chosen.row.configuration,
    )
    plain, found = _own.true(space.baseline, seed), []
    for name, rule in RULES.items():
        pick, promised = rule(full)
        worth = _own.true(full.values[pick], seed)
        found.append({"rule": name, "true": worth, "promised": promised, "plain": plain, "epochs": spent})
    return found


def _more_of_the_baseline(rows: Sequence[TrialRow], full: int, seeds: int, seed: int) -> TrialRow | None:
    own = [row for row in rows if row.configuration == BASELINE and row.epochs == full]
    if not own or len(own) > seeds or own[0].score is None:
        return None
    score = _own.score(own[0].values, full, len(own), seed)
    return own[0].model_copy(update={"trial": len(rows), "repeat": len(own), "score": score})


def lines(searches: Sequence[Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """A line for each rule, from one final round's replays."""
    told = pd.DataFrame([{"seed": seed, **pick} for seed, picks in enumerate(searches) for pick in picks])
    ours = told[told.rule == OURS].set_index("seed").true
    told["gap"] = told.promised - told.true
    told["ahead"] = told.true - told.seed.map(ours)
    told["below"] = (told.true < told.plain - 1e-9).astype(float)
    each = told.groupby("rule", sort=False)
    table = pd.DataFrame(
        {
            "true": each.true.mean(),
            "over": each.ahead.mean(),
            "over_se": each.ahead.sem(),
            "promised": each.gap.mean(),
            "off": each.gap.apply(lambda gap: gap.abs().mean()),
            "below": each.below.mean(),
            "below_se": each.below.sem(),
            "epochs": each.epochs.mean(),
            "n": each.size(),
            "n_promised": each.gap.count(),
        }
    )
    return table.round(4).reset_index()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--table", action="append")
    asked = options.parse_args()
    repeats = 10 if asked.quick else asked.repeats
    runs = tables(asked.tables)
    result: dict[str, Any] = {"configurations": asked.configs, "repeats": repeats, "tables": {}}
    ways = [(final, False) for final in FINAL_ROUNDS] + [(final, True) for final in FINAL_ROUNDS[1:]]
    for name in asked.table or runs:
        own = Surrogate(as_searched(read_outcomes(runs[name], name.rpartition("-")[2])))
        pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_take, initargs=(own,))
        with pool:
            for final, with_baseline in ways:
                jobs = [(final, with_baseline, asked.configs, seed) for seed in range(repeats)]
                table = lines(list(pool.map(one_search, jobs)))
                way = f"{final[0]}x{final[1]}" + (" and the baseline" if with_baseline else "")
                print(f"{name}, final round {way}", table.to_string(index=False), sep="\n", flush=True)
                known = result["tables"].setdefault(name, {})
                known[way] = table.astype(object).where(table.notna(), None).to_dict("records")
    of = "" if asked.configs == TRIALS else f"-{asked.configs}"
    measure.tell(f"winner{of}", result, quick=asked.quick or bool(asked.table))


if __name__ == "__main__":
    main()
