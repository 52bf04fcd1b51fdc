"""A configuration's mean score over seeds, shrunk towards its study's mean (hierarchical normal model).

Why: the best of many single scores is biased upwards, because part of its lead is luck. In the model, a
configuration's scores scatter around its mean over seeds, and these means scatter around the study's mean.
The posterior of a configuration needs no further correction for selection, because whoever selected saw
nothing but the scores (Senn, The American Statistician 62, 2008). To estimate the noise between seeds, too,
all scores must be given: the finalists' first scores alone are the luckiest of many, and their drop to the
second score would be mistaken for noise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MIN_EXTRA_SEEDS = 2
"""Scores beyond the first of each configuration that are needed to estimate the noise between seeds."""
GRID = 60
"""Grid points for each of the two standard deviations: between seeds and between configurations."""
WIDTH = 8.0
"""Posterior standard deviations to either side of the mean in which the interval's ends are searched."""


@dataclass(frozen=True)
class ShrunkenScore:
    """The posterior of a configuration's mean score over seeds: macro-F1 on validation."""

    mean: float
    low: float
    high: float
    """Ends of the 95 % interval."""
    noise: float
    """Standard deviation between seeds of one configuration."""


def shrunken_score(scores: Mapping[int, Sequence[float]], configuration: int) -> ShrunkenScore | None:
    """Estimate a configuration's mean score over seeds; None while the noise between seeds is unknown.

    The hierarchical normal model of Gelman et al., Bayesian Data Analysis, 3rd ed., section 5.4: a uniform
    prior on the standard deviation between configurations (eq. 5.21), a uniform prior on the logarithm of the
    noise, and the conditional posterior mean and variance (eq. 5.17 and 5.20) summed over a grid of both.
    With fewer than three configurations, or without any noise, nothing is shrunk: the result is the mean of
    the configuration's scores with a Student t interval from the pooled noise.

    Args:
        scores: by configuration, its full-length scores, one per seed.
        configuration: the one to estimate, a key of `scores`.
    """
    freedom = sum(len(of_one) - 1 for of_one in scores.values())
    if freedom < MIN_EXTRA_SEEDS:
        return None
    means = np.array([np.mean(of_one) for of_one in scores.values()])
    counts = np.array([len(of_one) for of_one in scores.values()])
    index = list(scores).index(configuration)
    squares = sum(float(np.sum((np.array(of_one) - np.mean(of_one)) ** 2)) for of_one in scores.values())
    if len(scores) > 2 and squares > 1e-16:
        return _partially_pooled(means, counts, squares, freedom, index)

    from scipy.stats import t  # Imported here because it takes half a second, which most commands can save.

    noise, mean = math.sqrt(squares / freedom), float(means[index])
    half_width = float(t.ppf(0.975, freedom)) * noise / math.sqrt(counts[index])
    # A score is a share, which a t interval from a few scores may leave.
    return ShrunkenScore(mean, max(0.0, mean - half_width), min(1.0, mean + half_width), noise)


def _partially_pooled(
    means: np.ndarray, counts: np.ndarray, squares: float, freedom: int, index: int
) -> ShrunkenScore:
    """The posterior of one of n normal means.

    Args:
        means: [n], mean score of each configuration.
        counts: [n], scores behind each mean.
        squares: sum of the squared deviations of all scores from their configuration's mean.
        freedom: degrees of freedom of `squares`.
        index: which of the means.
    """
    from scipy.special import ndtr

    pooled = math.sqrt(squares / freedom)
    # Axes of the grid: noise, spread between configurations, and in the sums the configurations.
    noise = np.geomspace(pooled / 8, pooled * 4, GRID)[:, None, None]
    spread = np.linspace(0, 3 * (np.ptp(means) + pooled), GRID)[:, None]
    precisions = 1 / (noise**2 / counts + spread**2)
    total = precisions.sum(axis=2)
    centre = (precisions * means).sum(axis=2) / total
    misfit = (precisions * (means - centre[..., None]) ** 2).sum(axis=2)
    log_between = (np.log(precisions).sum(axis=2) - np.log(total) - misfit) / 2
    noise = noise[..., 0]
    log_posterior = log_between - freedom * np.log(noise) - squares / (2 * noise**2)
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= posterior.sum()
    # The weight of the configuration's own mean; the study's mean has the rest.
    weight = 1 - noise**2 / counts[index] * precisions[..., index]
    shrunken = centre + weight * (means[index] - centre)
    deviations = np.sqrt(weight * noise**2 / counts[index] + (1 - weight) ** 2 / total)
    mean = float(np.sum(posterior * shrunken))
    deviation = math.sqrt(np.sum(posterior * (deviations**2 + (shrunken - mean) ** 2)))
    values = mean + np.linspace(-WIDTH, WIDTH, 401) * deviation
    cumulative = [np.sum(posterior * ndtr((value - shrunken) / deviations)) for value in values]
    low, high = np.interp((0.025, 0.975), cumulative, values).clip(0, 1)
    return ShrunkenScore(mean, float(low), float(high), float(np.sum(posterior * noise)))
