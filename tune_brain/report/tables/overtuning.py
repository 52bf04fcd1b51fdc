"""Tables of overtuning: the gain that a search promises, and what other seeds and the test confirm."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from tune_brain.config import RunConfig
from tune_brain.evaluate.shrinkage import shrunken_score
from tune_brain.evaluate.winners import choose, converged_scores, full_scores
from tune_brain.records import BASELINE, TrialRow

COLUMNS = ("arch", "untuned", "chosen", "mean", "low", "high", "promised")


def expectations(rows: Sequence[TrialRow], config: RunConfig, comparisons: Mapping[str, Any]) -> pd.DataFrame:
    """One line per architecture that has a winner, all scores in macro-F1 on validation.

    Columns arch; untuned (whether the winner is the baseline); chosen (mean of the winner's own full-length
    trials, by which it was chosen); mean, low and high (its expected score with other seeds, from trials that
    did not diverge and any seed runs; NaN while the noise between seeds is unknown); promised (chosen less
    the same mean of the baseline; NaN if the baseline won or has none).

    Args:
        rows: the latest row of each trial.
        config: the run's configuration.
        comparisons: content of comparisons.json, which has the seed runs' scores; may be empty.
    """
    lines = []
    for arch in config.arch:
        study = [row for row in rows if row.arch == arch]
        choice = choose(study, config.epochs)
        if choice is None:
            continue
        winner, scores = choice.row.configuration, full_scores(study, config.epochs)
        converged = converged_scores(study, config.epochs)
        chosen, untuned = fmean(choice.scores), scores.get(BASELINE)
        promised = chosen - fmean(untuned) if untuned and winner != BASELINE else np.nan
        seed_runs = comparisons.get("validation", {}).get(arch, {})
        for role, configuration in (("winner", winner), ("baseline", BASELINE)):
            if configuration in converged:
                converged[configuration] += seed_runs.get(role, [])
        estimate = shrunken_score(converged, winner)
        interval = (estimate.mean, estimate.low, estimate.high) if estimate else (np.nan,) * 3
        lines.append((arch, winner == BASELINE, chosen, *interval, promised))
    types = {"untuned": bool, **dict.fromkeys(COLUMNS[2:], float)}
    return pd.DataFrame(lines, columns=COLUMNS).astype(types)


def overtuning(expectations: pd.DataFrame, worth: pd.DataFrame) -> pd.DataFrame:
    """The lines of `expectations` with test scores, joined with the gains that other seeds and the test show.

    Adds the columns gain_validation, gain_official and gain_unseen of `scores.worth`. Overtuning is a gain
    on validation that does not generalise (Schneider et al., AutoML 2025, arXiv 2506.19540).
    """
    gains = [f"gain_{part}" for part in ("validation", "official", "unseen")]
    return expectations.merge(worth[["arch", *gains]], on="arch") if len(worth) else expectations.iloc[:0]
