"""Rules for choosing the winner of a search: how optimistic they are, and how far above the baseline.

    python tests/benchmarks/winner.py [--quick] [--table sartaj-cnn] [--tables results/tables] [--configs 64]

Default searches with various final rounds are replayed on the tables of tests/benchmarks/tables.py, --repeats
times each (100), and every rule chooses from the same rows. `true` is the score of its choice with other
seeds. `promised` is the mean excess of the score that the rule promises over the true one, and `off` the mean
absolute error. `below` is the share of choices that are worse than the untuned baseline, and `over` how far
the choice is in truth above that of the product's rule in the same replays. If the final round says "and the
baseline", the baseline is repeated as often as the finalists, whatever it scored. Columns ending in `_se` are
standard errors over replays; they do not include the uncertainty of the tables themselves.
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

from tune_brain.evaluate.shrinkage import shrunken_score
from tune_brain.evaluate.winners import choose, converged_scores, full_scores
from tune_brain.records import BASELINE, TrialRow
from tune_brain.search.outcomes import as_searched, place, read_outcomes
from tune_brain.search.replay import replay
from tune_brain.search.surrogate import Surrogate
from tune_brain.search.surrogate import _fit as fit_process
from tune_brain.space import Space
from tune_brain.stages.replay import Variant, configured

FINAL_ROUNDS = ((0, 0), (3, 1), (3, 2))
PRODUCT = "the best mean"


class Full(NamedTuple):
    """What a search knows about the configurations that reached full length, by number."""

    space: Space
    values: Mapping[int, Mapping[str, float]]
    scores: Mapping[int, Sequence[float]]
    converged: Mapping[int, Sequence[float]]
    """The scores without those of diverged trials, from which a score is estimated."""
    finalists: Sequence[int]
    """The configurations with the most scores."""
    chosen: int
    """The product's choice."""


Pick = tuple[int, float | None]
"""The number of a configuration, and the score that the rule promises for it, or None if it cannot say."""


def best_score(full: Full) -> Pick:
    """The best first score, as in a search without a final round and without shrinkage."""
    best = max(full.scores, key=lambda number: full.scores[number][0])
    return best, full.scores[best][0]


def best_mean(full: Full) -> Pick:
    """The product's rule: the best mean of the finalists, with its shrunken score as the promise."""
    shrunken = shrunken_score(full.converged, full.chosen)
    return full.chosen, shrunken.mean if shrunken else None


def as_it_scored(full: Full) -> Pick:
    """The product's choice, with the mean of its own scores as the promise."""
    return full.chosen, fmean(full.scores[full.chosen])


def one_standard_error(full: Full) -> Pick:
    """The finalist nearest to the baseline, among those within one standard error of the best mean.

    The rule of Breiman et al., Classification and Regression Trees, 1984, section 3.4.3, with the distance
    from the baseline (in the space's own scale) as the measure of complexity.
    """
    shrunken = shrunken_score(full.converged, full.chosen)
    if shrunken is None:
        return full.chosen, None
    least = fmean(full.scores[full.chosen]) - shrunken.noise / math.sqrt(len(full.scores[full.chosen]))
    close = [number for number in full.finalists if fmean(full.scores[number]) >= least]
    origin = place(full.space, full.space.baseline)
    distances = {
        number: float(np.linalg.norm(place(full.space, full.values[number]) - origin)) for number in close
    }
    pick = min(close, key=lambda number: distances[number])
    promised = shrunken_score(full.converged, pick)
    return pick, promised.mean if promised else None


def unless_clearly_better(full: Full) -> Pick:
    """The baseline, unless the best mean exceeds the baseline's by one standard error of the difference."""
    shrunken = shrunken_score(full.converged, full.chosen)
    if shrunken is None:
        return full.chosen, None
    best, baseline = full.scores[full.chosen], full.scores.get(BASELINE, (0.0,))
    error = shrunken.noise * math.sqrt(1 / len(best) + 1 / len(baseline))
    is_better = fmean(best) - fmean(baseline) > error
    pick = full.chosen if is_better or BASELINE not in full.scores else BASELINE
    promised = shrunken_score(full.converged, pick)
    return pick, promised.mean if promised else None


def best_expected(full: Full) -> Pick:
    """The best shrunken score of all configurations that reached full length."""
    # Among configurations with equally many seeds, the best mean has the best shrunken score.
    by_count: dict[int, int] = {}
    for number in sorted(full.scores, key=lambda number: fmean(full.scores[number])):
        by_count[len(full.scores[number])] = number
    shrunken = {number: shrunken_score(full.converged, number) for number in by_count.values()}
    expected = {number: score.mean for number, score in shrunken.items() if score}
    if not expected:
        return full.chosen, None
    best = max(expected, key=lambda number: expected[number])
    return best, expected[best]


def best_smooth(full: Full) -> Pick:
    """The trained configuration with the best mean of a Gaussian process fitted to all full-length scores.

    These replays favour the rule: the truth of the tables is smoothed by a Gaussian process of the same kind.
    """
    numbers = [number for number, scores in full.scores.items() for _ in scores]
    if len(numbers) < 4:
        return full.chosen, None
    places = np.array([place(full.space, full.values[number]) for number in numbers])
    model = fit_process(places, np.array([score for scores in full.scores.values() for score in scores]))
    means = dict(zip(numbers, model.predict(places).tolist(), strict=True))
    best = max(means, key=lambda number: means[number])
    return best, means[best]


RULES: Mapping[str, Callable[[Full], Pick]] = {
    "the best first score": best_score,
    PRODUCT: best_mean,
    "the best mean, as it scored": as_it_scored,
    "within one standard error, nearest the baseline": one_standard_error,
    "the baseline, unless clearly worse": unless_clearly_better,
    "the best expected score of all": best_expected,
    "the best of a Gaussian process": best_smooth,
}

_surrogate: Surrogate


def _init_worker(surrogate: Surrogate) -> None:
    global _surrogate
    _surrogate = surrogate


def one_search(job: tuple[tuple[int, int], bool, int, int]) -> list[dict[str, Any]]:
    """Each rule's choice in one replayed search, as a list of rows.

    Args:
        job: the final round, whether it includes the baseline, the number of configurations, and the seed of
            the replay.
    """
    final, with_baseline, configs, seed = job
    variant = Variant.model_validate({**DEFAULT, "configs": configs, "final_round": final})
    space = _surrogate.outcomes.space
    config = configured(variant, space.arch, seed)
    rows = [ended.row for ended in replay(_surrogate, config, variant.slots)]
    spent = sum(row.epochs for row in rows)
    while with_baseline and (repeat := _repeat_of_baseline(rows, config.full_length, final[1], seed)):
        rows.append(repeat)
        spent += repeat.epochs
    chosen = choose(rows, config.full_length)
    if chosen is None:
        return []
    scores = full_scores(rows, config.full_length)
    most = max(map(len, scores.values()))
    full = Full(
        space=space,
        values={row.configuration: row.values for row in rows},
        scores=scores,
        converged=converged_scores(rows, config.full_length),
        finalists=[number for number in scores if len(scores[number]) == most],
        chosen=chosen.row.configuration,
    )
    picks = []
    for name, rule in RULES.items():
        pick, promised = rule(full)
        true = {
            "true": _surrogate.true(full.values[pick], seed),
            "plain": _surrogate.true(space.baseline, seed),
        }
        picks.append({"rule": name, "promised": promised, "epochs": spent, **true})
    return picks


def _repeat_of_baseline(rows: Sequence[TrialRow], full: int, seeds: int, seed: int) -> TrialRow | None:
    """The baseline's next repeat at full length, or None if it has all its seeds or no score."""
    trained = [row for row in rows if row.configuration == BASELINE and row.epochs == full]
    if not trained or len(trained) > seeds or trained[0].score is None:
        return None
    score = _surrogate.score(trained[0].values, full, len(trained), seed)
    return trained[0].model_copy(update={"trial": len(rows), "repeat": len(trained), "score": score})


def lines(searches: Sequence[Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """One line per rule, from the replays of one final round."""
    picks = pd.DataFrame([{"seed": seed, **pick} for seed, found in enumerate(searches) for pick in found])
    of_product = picks[picks.rule == PRODUCT].set_index("seed").true
    picks["gap"] = picks.promised - picks.true
    picks["ahead"] = picks.true - picks.seed.map(of_product)
    picks["below"] = (picks.true < picks.plain - 1e-9).astype(float)
    each = picks.groupby("rule", sort=False)
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
    args = options.parse_args()
    repeats = 10 if args.quick else args.repeats
    runs = tables(args.tables)
    result: dict[str, Any] = {"configurations": args.configs, "repeats": repeats, "tables": {}}
    ways = [(final, False) for final in FINAL_ROUNDS] + [(final, True) for final in FINAL_ROUNDS[1:]]
    for name in args.table or runs:
        surrogate = Surrogate(as_searched(read_outcomes(runs[name], name.rpartition("-")[2])))
        pool = ProcessPoolExecutor(
            mp_context=get_context("spawn"), initializer=_init_worker, initargs=(surrogate,)
        )
        with pool:
            for final, with_baseline in ways:
                jobs = [(final, with_baseline, args.configs, seed) for seed in range(repeats)]
                table = lines(list(pool.map(one_search, jobs)))
                way = f"{final[0]}x{final[1]}" + (" and the baseline" if with_baseline else "")
                print(f"{name}, final round {way}", table.to_string(index=False), sep="\n", flush=True)
                of_table = result["tables"].setdefault(name, {})
                of_table[way] = table.astype(object).where(table.notna(), None).to_dict("records")
    suffix = "" if args.configs == TRIALS else f"-{args.configs}"
    measure.report(f"winner{suffix}", result, quick=args.quick or bool(args.table))


if __name__ == "__main__":
    main()
