"""The ladder as a table: how far each configuration climbed, and what decided it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tune_brain.records import BASELINE
from tune_brain.search.ladder import PROMOTED_SHARE


def fates(trials: pd.DataFrame, ladder: Sequence[int]) -> pd.DataFrame:
    """What became of each trial, in the order of `studies.trials`, and the contest that decided it.

    A promoted trial is held against the trials of its rung that had ended when its configuration started at
    the next one; any other that ended, against all of its rung. Failed trials count among the peers, as the
    worst; the baseline, which climbs no rung, is held against the others at full length only, and the final
    round's trials are nobody's peers.

    Returns:
        Columns fate (full, promoted, left, failed or running), rank (from 1; NaN while running), peers (how
        many ranked, itself included), cutoff (the lowest score in the best third at that moment; NaN where a
        third is less than one).
    """
    fate = trials["state"].where(trials["state"] != "completed", "left").to_numpy(dtype=object)
    contests = np.full((len(trials), 3), np.nan)
    ladder_trials = (trials["repeat"] == 0).to_numpy()
    states, numbers = trials["state"].to_numpy(), trials["configuration"].to_numpy()
    ends = (trials["started"] + trials["seconds"]).to_numpy()
    scores = trials["score"].fillna(-np.inf).to_numpy()
    rungs: dict[Any, Any] = dict(trials.groupby(["arch", "epochs"]).indices)
    for (_, rung), own in rungs.items():
        peers = own[states[own] != "running"]
        top = rung == ladder[-1]
        moments = np.full(len(peers), np.inf)
        if not top:
            moments = _promotions(trials, peers, _above(ladder, rung))
        ranked = ladder_trials[peers] if top else ladder_trials[peers] & (numbers[peers] != BASELINE)
        for place, (trial, moment) in enumerate(zip(peers, moments, strict=True)):
            same = ranked & (ends[peers] <= moment)
            same[place] = True
            contests[trial] = _contest(scores[peers][same], scores[trial])
            if states[trial] == "completed" and (top or np.isfinite(moment)):
                fate[trial] = "full" if top else "promoted"
    return pd.DataFrame(
        {"fate": fate, "rank": contests[:, 0], "peers": contests[:, 1], "cutoff": contests[:, 2]},
        index=trials.index,
    ).astype({"fate": str})


def _promotions(trials: pd.DataFrame, peers: NDArray[np.intp], above: int) -> NDArray[np.float64]:
    """When the configuration of each of these trials started at the rung above; infinity where it has not.

    That is when it was promoted; the final round starts it there once more.
    """
    arch = trials["arch"].iloc[peers[0]] if len(peers) else ""
    climbed = (trials["epochs"] == above) & (trials["repeat"] == 0) & ~trials["baseline"]
    higher = trials[(trials["arch"] == arch) & climbed]
    started = dict(zip(higher["configuration"], higher["started"], strict=True))
    numbers = trials["configuration"].to_numpy()[peers]
    return np.array([started.get(number, np.inf) for number in numbers], dtype=np.float64)


def _above(ladder: Sequence[int], rung: int) -> int:
    return next((length for length in ladder if length > rung), rung)


def _contest(scores: NDArray[np.float64], own: float) -> list[float]:
    """Rank of one score among several, how many these are, and the lowest of the best third."""
    third = len(scores) // PROMOTED_SHARE
    cutoff = np.partition(scores, -third)[-third] if third else np.nan
    return [1 + int((scores > own).sum()), len(scores), cutoff if np.isfinite(cutoff) else np.nan]


def cutoffs(trials: pd.DataFrame, ladder: Sequence[int]) -> pd.DataFrame:
    """One line for each rung of one architecture: n (trials ended), promoted, best, and the cut-off now."""
    lines = []
    for rung in ladder:
        own = trials[(trials["epochs"] == rung) & (trials["state"] != "running") & (trials["repeat"] == 0)]
        if rung != ladder[-1]:
            own = own[~own["baseline"]]
        scores = np.sort(own["score"].dropna())[::-1]
        third = len(own) // PROMOTED_SHARE
        lines.append(
            {
                "epochs": rung,
                "n": len(own),
                "promoted": int((own["fate"] == "promoted").sum()),
                "best": scores[0] if len(scores) else np.nan,
                "cutoff": scores[third - 1] if 0 < third <= len(scores) and rung != ladder[-1] else np.nan,
            }
        )
    return pd.DataFrame(lines)


def agreement(trials: pd.DataFrame, short: int, full: int) -> tuple[float, int]:
    """Spearman's rank correlation of the scores of configurations at two rungs, and how many were at both.

    NaN below three. The configurations that climbed are the best of the lower rung, which makes it small.
    """
    sampled = ~trials["baseline"] & (trials["repeat"] == 0)
    scored = trials[sampled & trials["score"].notna()].set_index("configuration")
    pair = {rung: scored.loc[scored["epochs"] == rung, "score"] for rung in (short, full)}
    both = pd.DataFrame(pair).dropna().rank()
    return (float(both[short].corr(both[full])) if len(both) > 2 else np.nan), len(both)
