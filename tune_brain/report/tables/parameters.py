"""Tables of the tuned hyperparameters: positions in their ranges, values at an edge, score surfaces."""

import numpy as np
import pandas as pd

from tune_brain.array_types import Floats
from tune_brain.space import Space

EDGE = 0.05
"""A best value is at an edge if it lies within this share of its range from an end."""
ENOUGH = 10
"""Trials needed for a surface through their scores."""
GRID = 24
"""Points of a surface along each axis."""
WIDTH = 0.15
"""Standard deviation of the surface's kernel, as a share of the range."""


def placed(trials: pd.DataFrame, space: Space) -> pd.DataFrame:
    """Position of each tuned value in its range, from 0 to 1: one line per trial, one column per name."""
    values = pd.DataFrame(trials["values"].tolist(), index=trials.index, columns=list(space.tuned))
    return pd.DataFrame(
        {name: values[name].astype(float).map(limits.share) for name, limits in space.tuned.items()}
    )


def edges(trials: pd.DataFrame, space: Space) -> list[tuple[str, str]]:
    """Hyperparameters whose best value lies at an edge of its range, each with `lower` or `upper`.

    Empty if the best configuration is the untuned baseline, whose values were not searched.

    Args:
        trials: trials of one architecture; see `studies.trials`.
        space: its space.
    """
    best = trials[trials["winner"] & ~trials["baseline"]]
    if best.empty:
        return []
    places = placed(best, space).iloc[0]
    ends = [(name, "lower" if places[name] < EDGE else "upper") for name in places.index]
    return [(str(name), end) for name, end in ends if places[name] < EDGE or places[name] > 1 - EDGE]


def surface(places: pd.DataFrame, scores: pd.Series, x: str, y: str) -> Floats | None:
    """A smooth surface of the scores over two ranges, by kernel regression (Nadaraya 1964, Watson 1964).

    Args:
        places: positions of the trials' values in their ranges; see `placed`.
        scores: the trials' scores.
        x: hyperparameter of the columns.
        y: hyperparameter of the rows.

    Returns:
        [GRID, GRID] over the unit square, NaN where no trial is near; None below `ENOUGH` trials.
    """
    if len(scores) < ENOUGH:
        return None
    ticks = np.linspace(0, 1, GRID)
    gaps_x = ticks[None, :, None] - places[x].to_numpy()[None, None, :]
    gaps_y = ticks[:, None, None] - places[y].to_numpy()[None, None, :]
    weights = np.exp(-(gaps_x**2 + gaps_y**2) / (2 * WIDTH**2))
    total = weights.sum(2)
    smooth: Floats = (weights * scores.to_numpy()).sum(2) / np.maximum(total, 1e-12)
    return np.where(total > np.exp(-2.0), smooth, np.nan)
