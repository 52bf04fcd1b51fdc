"""The score that a configuration is expected to have with other seeds: its own, drawn to its study's mean.

The best of many is partly luck. Scores of a configuration scatter about its mean over seeds, and these means
about the study's. What follows of a configuration from that needs no correction for having been chosen, since
whoever chose saw no more than the scores (Senn, The American Statistician 62, 2008). That holds for the noise
between seeds as well if all scores tell of it: of finalists alone, whose first scores are the luckiest of
many, their fall to the second would be taken for noise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 2
"""Seeds beyond each configuration's first below which the noise between seeds counts as unknown."""
GRID = 60
"""Values of each of the two deviations, between seeds and between configurations, that are weighed."""
WIDTH = 8.0
"""Standard deviations to either side within which the ends of the interval are looked for."""


@dataclass(frozen=True)
class ShrunkenScore:
    """A configuration's mean score over seeds, as far as known: macro-F1 on validation."""

    mean: float
    low: float
    high: float
    """Ends of the 95 % interval."""
    noise: float
    """Standard deviation between seeds of a configuration."""


def expected(scores: Mapping[int, Sequence[float]], configuration: int) -> ShrunkenScore | None:
    """What a configuration is expected to score on average over seeds; None while the noise is unknown.

    The hierarchical normal model of Gelman et al., Bayesian Data Analysis, 3rd ed., section 5.4, with their
    uniform prior on the deviation between configurations (eq. 5.21), a uniform one on the logarithm of the
    noise, and the mean and variance given both (eq. 5.17 and 5.20), summed over a grid. Of fewer than three
    configurations none is drawn to the others: the mean of its scores, with the pooled noise and Student's t.

    Args:
        scores: of the full-length trials of each configuration, each with a seed of its own.
        configuration: one of them.
    """
    freedom = sum(len(own) - 1 for own in scores.values())
    if freedom < FEWEST:
        return None
    means = np.array([np.mean(own) for own in scores.values()])
    counts = np.array([len(own) for own in scores.values()])
    own = list(scores).index(configuration)
    squares = sum(float(np.sum((np.array(of) - np.mean(of)) ** 2)) for of in scores.values())
    if len(scores) > 2 and squares > 1e-16:
        return _partially_pooled(means, counts, squares, freedom, own)

    from scipy.stats import t  # half a second that most commands need not wait

    noise, mean = math.sqrt(squares / freedom), float(means[own])
    reach = float(t.ppf(0.975, freedom)) * noise / math.sqrt(counts[own])
    return ShrunkenScore(mean, mean - reach, mean + reach, noise)


def _partially_pooled(
    means: np.ndarray, counts: np.ndarray, squares: float, freedom: int, own: int
) -> ShrunkenScore:
    """One of several normal means, [n], with `counts` scores each and `squares` within them."""
    from scipy.special import ndtr

    pooled = math.sqrt(squares / freedom)
    noise = np.geomspace(pooled / 8, pooled * 4, GRID)[:, None, None]
    spread = np.linspace(0, 3 * (np.ptp(means) + pooled), GRID)[:, None]
    weights = 1 / (noise**2 / counts + spread**2)
    total = weights.sum(axis=2)
    centre = (weights * means).sum(axis=2) / total
    misfit = (weights * (means - centre[..., None]) ** 2).sum(axis=2)
    between = (np.log(weights).sum(axis=2) - np.log(total) - misfit) / 2
    noise = noise[..., 0]
    logs = between - freedom * np.log(noise) - squares / (2 * noise**2)
    likely = np.exp(logs - logs.max())
    likely /= likely.sum()
    kept = 1 - noise**2 / counts[own] * weights[..., own]
    found = centre + kept * (means[own] - centre)
    each = np.sqrt(kept * noise**2 / counts[own] + (1 - kept) ** 2 / total)
    mean = float(np.sum(likely * found))
    deviation = math.sqrt(np.sum(likely * (each**2 + (found - mean) ** 2)))
    at = mean + np.linspace(-WIDTH, WIDTH, 401) * deviation
    below = [np.sum(likely * ndtr((value - found) / each)) for value in at]
    low, high = np.interp((0.025, 0.975), below, at)
    return ShrunkenScore(mean, float(low), float(high), float(np.sum(likely * noise)))
