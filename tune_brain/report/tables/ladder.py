"""Tables of the ladder: the outcome of each trial, the ranking that decided it, and the current cut-offs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tune_brain.array_types import Floats
from tune_brain.records import BASELINE, TrialRow
from tune_brain.report.tables.studies import ENDED
from tune_brain.search.ladder import PROMOTED_SHARE


def first_starts(rows: Sequence[TrialRow]) -> dict[int, float]:
    """By trial, the Unix time of its first start; later rows have that of a retry or a resume.

    Args:
        rows: all trial rows, in the order in which they were written.
    """
    return {row.trial: row.started for row in reversed(rows)}


def fates(trials: pd.DataFrame, ladder: Sequence[int], starts: Mapping[int, float]) -> pd.DataFrame:
    """The outcome of each trial and the ranking that decided it, in the order of `studies.trials`.

    A promoted trial is ranked among the trials of its rung that had ended when its configuration started at
    the next rung; any other ended trial is ranked among all ended trials of its rung. Failed trials rank
    last. The baseline is not promoted and ranks among the others at full length only. Trials of the final
    round are not counted as peers of others.

    Args:
        trials: see `studies.trials`.
        ladder: the trial lengths, in epochs.
        starts: see `first_starts`.

    Returns:
        Columns fate (full, promoted, left, failed, running or interrupted), rank (from 1; NaN until it has
        ended), peers (number of ranked trials, including this one), cutoff (lowest score in the best third
        at that time; NaN if a third of the peers is less than one trial).
    """
    fate = trials["state"].where(trials["state"] != "completed", "left").to_numpy(dtype=object)
    rankings = np.full((len(trials), 3), np.nan)
    ladder_trials = (trials["repeat"] == 0).to_numpy()
    states, numbers = trials["state"].to_numpy(), trials["configuration"].to_numpy()
    ends = (trials["started"] + trials["seconds"]).to_numpy()
    scores = trials["score"].fillna(-np.inf).to_numpy()
    rungs: dict[Any, Any] = dict(trials.groupby(["arch", "epochs"]).indices)
    for (_, rung), at_rung in rungs.items():
        ended = at_rung[np.isin(states[at_rung], ENDED)]
        top = rung == ladder[-1]
        promoted_at = np.full(len(ended), np.inf)
        if not top:
            promoted_at = _promotion_times(trials, ended, _above(ladder, rung), starts)
        counted = ladder_trials[ended] if top else ladder_trials[ended] & (numbers[ended] != BASELINE)
        for place, (trial, time) in enumerate(zip(ended, promoted_at, strict=True)):
            peers = counted & (ends[ended] <= time)
            peers[place] = True
            rankings[trial] = _ranking(scores[ended][peers], scores[trial])
            if states[trial] == "completed" and (top or np.isfinite(time)):
                fate[trial] = "full" if top else "promoted"
    return pd.DataFrame(
        {"fate": fate, "rank": rankings[:, 0], "peers": rankings[:, 1], "cutoff": rankings[:, 2]},
        index=trials.index,
    ).astype({"fate": str})


def _promotion_times(
    trials: pd.DataFrame, ended: NDArray[np.intp], above: int, starts: Mapping[int, float]
) -> Floats:
    """Unix time at which each trial's configuration first started at the rung above; infinity if it has not.

    Args:
        trials: see `studies.trials`.
        ended: positions of the trials, all of one architecture and rung.
        above: the next rung. Trials of the final round there do not count.
        starts: see `first_starts`.
    """
    arch = trials["arch"].iloc[ended[0]] if len(ended) else ""
    promoted = (trials["epochs"] == above) & (trials["repeat"] == 0) & ~trials["baseline"]
    higher = trials[(trials["arch"] == arch) & promoted]
    started = dict(zip(higher["configuration"], higher["trial"].map(starts), strict=True))
    numbers = trials["configuration"].to_numpy()[ended]
    return np.array([started.get(number, np.inf) for number in numbers], dtype=np.float64)


def _above(ladder: Sequence[int], rung: int) -> int:
    return next((length for length in ladder if length > rung), rung)


def _ranking(scores: Floats, score: float) -> list[float]:
    """Rank of one score among several, how many there are, and the lowest score of the best third."""
    return [1 + int((scores > score).sum()), len(scores), _cutoff(scores)]


def _cutoff(scores: Floats) -> float:
    """The lowest of the best third of some scores; NaN if that is less than one, or a failed trial's."""
    third = len(scores) // PROMOTED_SHARE
    cutoff = np.partition(scores, -third)[-third] if third else -np.inf
    return float(cutoff) if np.isfinite(cutoff) else np.nan


def cutoffs(trials: pd.DataFrame, ladder: Sequence[int]) -> pd.DataFrame:
    """One line per rung of one architecture: epochs, n (trials ended), promoted, best, current cutoff."""
    lines = []
    for rung in ladder:
        ended = trials[(trials["epochs"] == rung) & trials["state"].isin(ENDED) & (trials["repeat"] == 0)]
        if rung != ladder[-1]:
            ended = ended[~ended["baseline"]]
        scores = ended["score"].fillna(-np.inf).to_numpy()
        lines.append(
            {
                "epochs": rung,
                "n": len(ended),
                "promoted": int((ended["fate"] == "promoted").sum()),
                "best": ended["score"].max(),
                "cutoff": _cutoff(scores) if rung != ladder[-1] else np.nan,
            }
        )
    return pd.DataFrame(lines)


def agreement(trials: pd.DataFrame, short: int, full: int) -> tuple[float, int]:
    """Spearman's rank correlation of configurations' scores at two rungs, and how many have both scores.

    NaN below three configurations. Only the best of the lower rung are promoted; this restriction of range
    lowers the correlation.
    """
    sampled = ~trials["baseline"] & (trials["repeat"] == 0)
    scored = trials[sampled & trials["score"].notna()].set_index("configuration")
    pair = {rung: scored.loc[scored["epochs"] == rung, "score"] for rung in (short, full)}
    both = pd.DataFrame(pair).dropna().rank()
    return (float(both[short].corr(both[full])) if len(both) > 2 else np.nan), len(both)
