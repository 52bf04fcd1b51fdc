"""Comparisons of two classifiers on the same images: the difference of their scores, and a test."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from scipy.stats import binomtest

from tune_brain.array_types import Flags, Floats, Ints
from tune_brain.evaluate.statistics import SEED, draws, fewest_groups, summary, weighted_measures


def difference(a: Floats, b: Floats, labels: Ints, groups: Ints) -> dict[str, float | None]:
    """The difference in macro-F1 of two classifiers on the same images: a's mean over its seeds minus b's.

    The bootstrap is paired: both are scored on the same draws of groups, so that what makes a draw hard for
    both cancels out. Each replicate resamples the seeds of both, too, since other seeds would give another
    difference; a correction makes up for the smaller variance of few resampled seeds (Davison & Hinkley,
    1997, chapter 2.3). A single seed is not resampled.

    Args:
        a: [S, N, C], the first classifier's probabilities, one set per seed.
        b: [T, N, C], the second classifier's.
        labels: [N], true classes as indices.
        groups: [N], group numbers: related images share one.

    Returns:
        `mean`, and `low` and `high`, the ends of its 95 % percentile interval; None where undefined, as for
        the macro-F1 of `score` with few groups. Of two that are equal on every draw it has no width.
    """
    blocks = [(_f1(a, labels, weights), _f1(b, labels, weights)) for weights in draws(groups)]
    generator = np.random.default_rng(SEED)
    of_a, of_b = (
        _mean_over_seeds(np.concatenate(parts, axis=1), generator) for parts in zip(*blocks, strict=True)
    )
    found = summary((of_a - of_b)[None], fewest_groups(labels, groups), at_bounds="keep")
    return {name: found[name] for name in ("mean", "low", "high")}


def _f1(probabilities: Floats, labels: Ints, weights: Floats) -> Floats:
    """Macro-F1 [S, R] of each seed of [S, N, C] under each of R sets of weights."""
    of_seeds = [
        weighted_measures(of_seed, labels, weights, probabilistic=False)["f1"] for of_seed in probabilities
    ]
    return np.stack(of_seeds)


def _mean_over_seeds(values: Floats, generator: np.random.Generator) -> Floats:
    """The mean [1 + R] of [S, 1 + R] over the seeds; in a replicate, over S seeds drawn with replacement."""
    mean: Floats = values.mean(0)
    if (seeds := len(values)) == 1:
        return mean
    drawn = generator.integers(seeds, size=values.shape)
    # The factor makes the variance of the drawn mean unbiased.
    shift: Floats = np.take_along_axis(values - mean, drawn, 0).mean(0) * (seeds / (seeds - 1)) ** 0.5
    shift[0] = 0
    return mean + shift


def sign_test(a_correct: Flags, b_correct: Flags, groups: Ints) -> dict[str, Any]:
    """Exact sign test of two classifiers over groups: in which one of them is right on more images.

    If every group is one image, it is McNemar's exact test. Counting images would take related ones, on which
    a classifier is right or wrong alike, for independent evidence.

    Args:
        a_correct: [N], where the first classifier is right.
        b_correct: [N], where the second is.
        groups: [N], group numbers: related images share one.

    Returns:
        `only_a`, `only_b`: how many images only that one gets right; `groups_a`, `groups_b`: in how many
        groups that one is right on more images; `p`: two-sided, 1 without such groups.
    """
    lead = a_correct.astype(np.int64) - b_correct
    _, group = np.unique(groups, return_inverse=True)
    leads = np.bincount(group, weights=lead)
    groups_a, groups_b = int((leads > 0).sum()), int((leads < 0).sum())
    return {
        "only_a": int((lead > 0).sum()),
        "only_b": int((lead < 0).sum()),
        "groups_a": groups_a,
        "groups_b": groups_b,
        "p": float(binomtest(groups_a, groups_a + groups_b).pvalue) if groups_a + groups_b else 1.0,
    }


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for multiple testing, in the given order (Holm, Scand. J. Statist. 6, 1979)."""
    order = sorted(range(len(p)), key=p.__getitem__)
    ascending = accumulate((min(1.0, (len(p) - rank) * p[k]) for rank, k in enumerate(order)), max)
    corrected = dict(zip(order, ascending, strict=True))
    return [corrected[k] for k in range(len(p))]
