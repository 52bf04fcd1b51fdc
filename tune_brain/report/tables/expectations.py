"""What a search promises: its winners' gain over the baseline, and their expected scores with other seeds."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from tune_brain.config import RunConfig
from tune_brain.evaluate.shrinkage import shrunken_score
from tune_brain.evaluate.winners import choose, converged_scores, full_scores
from tune_brain.records import BASELINE, TrialRow

COLUMNS = ("arch", "mean", "low", "high", "promised")


def expectations(rows: Sequence[TrialRow], config: RunConfig, comparisons: Mapping[str, Any]) -> pd.DataFrame:
    """One line per architecture that has a winner, all scores in macro-F1 on validation.

    Columns arch; mean, low and high (the winner's expected score with other seeds, from trials that did not
    diverge and any seed runs; NaN while the noise between seeds is unknown); promised (the mean of its own
    full-length trials, by which it was chosen, less the same mean of the baseline; NaN if the baseline won or
    has none). What does not remain of a promised gain with other seeds and on the test is overtuning
    (Schneider et al., AutoML 2025, arXiv 2506.19540).

    Args:
        rows: the latest row of each trial.
        config: the run's configuration.
        comparisons: content of comparisons.json, which has the seed runs' scores; may be empty.
    """
    lines = []
    for arch in config.arch:
        study = [row for row in rows if row.arch == arch]
        choice = choose(study, config.full_length)
        if choice is None:
            continue
        winner, scores = choice.row.configuration, full_scores(study, config.full_length)
        converged = converged_scores(study, config.full_length)
        untuned = scores.get(BASELINE)
        promised = fmean(choice.scores) - fmean(untuned) if untuned and winner != BASELINE else np.nan
        seed_runs = comparisons.get("validation", {}).get(arch, {})
        for role, configuration in (("winner", winner), ("baseline", BASELINE)):
            if configuration in converged:
                converged[configuration] += seed_runs.get(role, [])
        estimate = shrunken_score(converged, winner)
        interval = (estimate.mean, estimate.low, estimate.high) if estimate else (np.nan,) * 3
        lines.append((arch, *interval, promised))
    return pd.DataFrame(lines, columns=COLUMNS).astype(dict.fromkeys(COLUMNS[1:], float))
