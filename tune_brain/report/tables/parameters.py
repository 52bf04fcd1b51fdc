"""What was tuned, as tables: where the best lies in its range, and what decides the score."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tune_brain.space import Space

EDGE = 0.05
"""A best value within this share of its range from an end lies at the edge."""
ENOUGH = 10
"""Trials below which no surface is drawn through their scores."""
GRID = 24
WIDTH = 0.15
"""Standard deviation of the surface's kernel, as a share of the range."""


def placed(trials: pd.DataFrame, space: Space) -> pd.DataFrame:
    """By trial of one architecture: where each tuned value stands in its range, 0 to 1."""
    values = pd.DataFrame(trials["values"].tolist(), index=trials.index, columns=list(space.tuned))
    return pd.DataFrame(
        {name: values[name].astype(float).map(limits.share) for name, limits in space.tuned.items()}
    )


def edges(trials: pd.DataFrame, space: Space) -> list[tuple[str, str]]:
    """Names of what is tuned whose best value lies at an edge of its range, with `lower` or `upper`.

    Nothing where the best is the untuned baseline, which nobody searched for.
    """
    best = trials[trials["winner"] & ~trials["baseline"]]
    if best.empty:
        return []
    at = placed(best, space).iloc[0]
    ends = [(name, "lower" if at[name] < EDGE else "upper") for name in at.index]
    return [(str(name), end) for name, end in ends if at[name] < EDGE or at[name] > 1 - EDGE]


def surface(at: pd.DataFrame, scores: pd.Series, x: str, y: str) -> NDArray[np.float64] | None:
    """[GRID, GRID], a smooth surface through the scores over two ranges, y down; None below `ENOUGH` trials.

    A kernel regression (Nadaraya 1964, Watson 1964) in the unit square; NaN where no trial is near.
    """
    if len(scores) < ENOUGH:
        return None
    ticks = np.linspace(0, 1, GRID)
    gaps_x = ticks[None, :, None] - at[x].to_numpy()[None, None, :]
    gaps_y = ticks[:, None, None] - at[y].to_numpy()[None, None, :]
    weights = np.exp(-(gaps_x**2 + gaps_y**2) / (2 * WIDTH**2))
    total = weights.sum(2)
    smooth: NDArray[np.float64] = (weights * scores.to_numpy()).sum(2) / np.maximum(total, 1e-12)
    return np.where(total > np.exp(-2.0), smooth, np.nan)
