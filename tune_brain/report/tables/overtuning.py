"""What a search has promised, and what other seeds and the test have confirmed of it."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from tune_brain.config import RunConfig
from tune_brain.evaluate.shrinkage import expected
from tune_brain.evaluate.winners import choose, full_scores
from tune_brain.records import BASELINE, TrialRow

COLUMNS = ("arch", "chosen", "mean", "low", "high", "promised")


def expectations(rows: Sequence[TrialRow], config: RunConfig, comparisons: Mapping[str, Any]) -> pd.DataFrame:
    """One line for each architecture that has a winner, all in macro-F1 on validation.

    Columns arch, chosen (what the winner was chosen for, the mean of its own full-length trials), mean, low
    and high (what is expected of it with other seeds, its seed runs included where they are known; NaN while
    the noise between seeds is not), promised (chosen less the same of the baseline; NaN where that won).
    """
    lines = []
    for arch in config.arch:
        own = [row for row in rows if row.arch == arch]
        choice = choose(own, config.epochs)
        if choice is None:
            continue
        winner, scores = choice.row.configuration, full_scores(own, config.epochs)
        chosen, untuned = fmean(choice.scores), scores.get(BASELINE)
        promised = chosen - fmean(untuned) if untuned and winner != BASELINE else np.nan
        again = comparisons.get("validation", {}).get(arch, {})
        for role, configuration in (("winner", winner), ("baseline", BASELINE)):
            if configuration in scores:
                scores[configuration] += again.get(role, [])
        found = expected(scores, winner)
        known = (found.mean, found.low, found.high) if found else (np.nan,) * 3
        lines.append((arch, chosen, *known, promised))
    return pd.DataFrame(lines, columns=COLUMNS).astype(dict.fromkeys(COLUMNS[1:], float))


def overtuning(expectations: pd.DataFrame, worth: pd.DataFrame) -> pd.DataFrame:
    """The lines of `expectations` that have test scores, with the gains that other seeds and the test show.

    Beside its columns gain_validation, gain_official and gain_unseen of `scores.worth`. Overtuning is a gain
    on validation that does not carry over (Schneider et al., AutoML 2025, arXiv 2506.19540).
    """
    gains = [f"gain_{part}" for part in ("validation", "official", "unseen")]
    return expectations.merge(worth[["arch", *gains]], on="arch") if len(worth) else expectations.iloc[:0]
