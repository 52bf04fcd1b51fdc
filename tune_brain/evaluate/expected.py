"""The score that a configuration is expected to have with other seeds: its own, drawn to its study's mean.

The best of many is partly luck. Scores of a configuration scatter about its mean over seeds, and these means
about the study's. What follows of a configuration from that needs no correction for having been chosen, since
whoever chose saw no more than the scores (Senn, The American Statistician 62, 2008).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 2
"""Seeds beyond each configuration's first below which the noise between seeds counts as unknown."""
GRID = 200
"""Values of the deviation between configurations that are weighed against each other."""


@dataclass(frozen=True)
class Expected:
    """A configuration's mean score over seeds, as far as known: macro-F1 on validation."""

    mean: float
    low: float
    high: float
    """Ends of the 95 % interval."""
    noise: float
    """Standard deviation between seeds of a configuration."""


def expected(scores: Mapping[int, Sequence[float]], configuration: int) -> Expected | None:
    """What a configuration is expected to score on average over seeds; None while the noise is unknown.

    The hierarchical normal model of Gelman et al., Bayesian Data Analysis, 3rd ed., section 5.4, with their
    uniform prior on the deviation between configurations (eq. 5.21) and the mean and variance given it
    (eq. 5.17 and 5.20), summed over a grid. The noise is the deviation within configurations, pooled; as
    it is an estimate, Student's t is taken. Of fewer than three configurations none is drawn to the others.

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
    noise = math.sqrt(squares / freedom)
    mean, variance = float(means[own]), noise**2 / counts[own]
    if len(scores) > 2 and noise > 1e-9:
        mean, variance = _drawn(means, noise**2 / counts, own)

    from scipy.stats import t  # half a second that most commands need not wait

    reach = float(t.ppf(0.975, freedom)) * math.sqrt(variance)
    return Expected(mean, mean - reach, mean + reach, noise)


def _drawn(means: np.ndarray, variances: np.ndarray, own: int) -> tuple[float, float]:
    """Mean and variance of one of several normal means, [n], each known with its variance, [n]."""
    widest = 3 * (np.ptp(means) + math.sqrt(variances.max()))
    spreads = np.linspace(0, widest, GRID)[:, None]
    weights = 1 / (variances + spreads**2)
    total = weights.sum(axis=1)
    centres = (weights * means).sum(axis=1) / total
    misfit = (weights * (means - centres[:, None]) ** 2).sum(axis=1)
    logs = (np.log(weights).sum(axis=1) - np.log(total) - misfit) / 2
    likely = np.exp(logs - logs.max())
    likely /= likely.sum()
    kept = 1 - variances[own] * weights[:, own]
    found = centres + kept * (means[own] - centres)
    each = kept * variances[own] + (1 - kept) ** 2 / total
    mean = float(likely @ found)
    return mean, float(likely @ (each + (found - mean) ** 2))
