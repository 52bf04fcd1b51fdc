"""Scores with their spread over seeds and confidence intervals over groups, and tests between classifiers.

Every measure is computed for many sets of image weights at once. The first set weighs each image once and
gives the score itself; the others are bootstrap replicates, in which an image's weight is how often its group
was drawn. Inside this module an undefined value is NaN; in results it is None.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CALIBRATION_BINS = 15
"""Bins of equal width, as in Guo et al., On Calibration of Modern Neural Networks (ICML 2017)."""

REPLICATES, SEED = 1000, 0
"""Of each bootstrap."""

BLOCK = 2_000_000
"""Weights (replicates x images) in memory at once: 16 MB."""


def score(
    probabilities: Floats,
    labels: Ints,
    groups: Ints,
    classes: Sequence[str],
    *,
    probabilistic: bool = True,
) -> dict[str, Any]:
    """All measures of one classifier on one set of images, as plain JSON values.

    A measure is `{"mean", "std", "low", "high"}`: mean and sample standard deviation over the seeds, and the
    95 % percentile interval of that mean from a bootstrap that draws whole groups of images with replacement
    (Davison & Hinkley, Bootstrap Methods and their Application, 1997). Undefined values are None: `std` with
    one seed, the interval with one group, all four for a class without images. Macro averages leave out
    classes without images. Replicates that miss any other class do not count for them, because an average
    over fewer classes would be another measure.

    Args:
        probabilities: [S, N, C], of each seed; one-hot for a classifier without probabilities.
        labels: [N], true classes as indices.
        groups: [N], group numbers: related images share one.
        classes: C names.
        probabilistic: False leaves out the measures of probabilities: ROC AUC, log loss, calibration error.
    """
    seeds, n, size = probabilities.shape
    blocks = [
        [
            weighted_measures(of_seed.astype(np.float64), labels, weights, probabilistic=probabilistic)
            for of_seed in probabilities
        ]
        for weights in _weights(groups)
    ]
    values = {
        name: np.concatenate([np.stack([of_seed[name] for of_seed in block]) for block in blocks], axis=1)
        for name in blocks[0][0]
    }
    predicted = probabilities.argmax(2)
    confusion = np.zeros((size, size), dtype=np.int64)
    np.add.at(confusion, (np.broadcast_to(labels, predicted.shape), predicted), 1)
    return {
        "n": n,
        "groups": len(np.unique(groups)),
        "seeds": seeds,
        **{
            name: _summary(array, centred=name == "calibration_error")
            for name, array in values.items()
            if array.ndim == 2
        },
        "per_class": {
            label: {
                "n": int((labels == column).sum()),
                **{
                    name.removeprefix("class_"): _summary(array[..., column])
                    for name, array in values.items()
                    if array.ndim == 3
                },
            }
            for column, label in enumerate(classes)
        },
        "confusion": (confusion / seeds).tolist(),
    }


def weighted_measures(
    probabilities: Floats, labels: Ints, weights: Floats, *, probabilistic: bool = True
) -> dict[str, Floats]:
    """All measures of one classifier under R sets of image weights; NaN where undefined.

    They equal scikit-learn's with `sample_weight`, `zero_division=0` and as labels the classes with images.
    Macro averages are undefined if one of these classes has no weight.

    Args:
        probabilities: [N, C].
        labels: [N], true classes as indices.
        weights: [R, N], not negative.
        probabilistic: False leaves out ROC AUC, log loss and calibration error.

    Returns:
        [R] by the name of the measure, and [R, C] by `class_` and that name.
    """
    size = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    cells = np.eye(size * size)[labels * size + predicted]
    confusion = (weights @ cells).reshape(-1, size, size)
    total = weights.sum(1)
    hits, actual, claimed = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(2), confusion.sum(1)
    recall = _ratio(hits, actual)
    has_weight, has_images = actual > 0, np.bincount(labels, minlength=size) > 0
    precision = np.where(has_weight, np.nan_to_num(_ratio(hits, claimed)), np.nan)
    f1 = np.where(has_weight, _ratio(2 * hits, actual + claimed), np.nan)
    measures = {
        "accuracy": _ratio(hits.sum(1), total),
        "balanced_accuracy": _macro(recall, has_images),
        "precision": _macro(precision, has_images),
        "recall": _macro(recall, has_images),
        "f1": _macro(f1, has_images),
        "class_precision": precision,
        "class_recall": recall,
        "class_f1": f1,
    }
    if probabilistic:
        auc = np.stack([_auc(probabilities[:, c], labels == c, weights) for c in range(size)], axis=1)
        of_label = probabilities[np.arange(len(labels)), labels].clip(np.finfo(np.float64).eps, 1)
        measures["class_roc_auc"], measures["roc_auc"] = auc, _macro(auc, has_images)
        measures["log_loss"] = _ratio(weights @ -np.log(of_label), total)
        measures["calibration_error"] = _calibration_error(probabilities.max(1), predicted == labels, weights)
    return measures


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
        `mean`, and `low` and `high`, the ends of its 95 % percentile interval; None where undefined.
    """
    blocks = [(_f1(a, labels, weights), _f1(b, labels, weights)) for weights in _weights(groups)]
    generator = np.random.default_rng(SEED)
    of_a, of_b = (
        _mean_over_seeds(np.concatenate(parts, axis=1), generator) for parts in zip(*blocks, strict=True)
    )
    summary = _summary((of_a - of_b)[None])
    return {name: summary[name] for name in ("mean", "low", "high")}


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


def mcnemar(a_correct: NDArray[np.bool_], b_correct: NDArray[np.bool_]) -> dict[str, Any]:
    """Exact McNemar test of two classifiers, by the images on which only one of them is right.

    Args:
        a_correct: [N], where the first classifier is right.
        b_correct: [N], where the second is.

    Returns:
        `only_a`, `only_b`: how many images only that one gets right; `p`: two-sided, 1 without such images.
    """
    only_a, only_b = int((a_correct & ~b_correct).sum()), int((b_correct & ~a_correct).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return {"only_a": only_a, "only_b": only_b, "p": p}


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for multiple testing, in the given order (Holm, Scand. J. Statist. 6, 1979)."""
    order = sorted(range(len(p)), key=p.__getitem__)
    ascending = accumulate((min(1.0, (len(p) - rank) * p[k]) for rank, k in enumerate(order)), max)
    corrected = dict(zip(order, ascending, strict=True))
    return [corrected[k] for k in range(len(p))]


def _weights(groups: Ints) -> Iterator[Floats]:
    """Blocks of weights [R, N]: first ones, then in each replicate how often each image's group was drawn."""
    yield np.ones((1, len(groups)))
    distinct, group = np.unique(groups, return_inverse=True)
    count = len(distinct)
    if count < 2:
        return
    generator = np.random.default_rng(SEED)
    rows = max(1, BLOCK // len(group))
    for start in range(0, REPLICATES, rows):
        draws = generator.multinomial(count, np.full(count, 1 / count), size=min(rows, REPLICATES - start))
        yield draws[:, group].astype(np.float64)


def _summary(values: Floats, *, centred: bool = False) -> dict[str, float | None]:
    """Mean, standard deviation and interval of values [S, 1 + R]: the scores, then their replicates.

    With `centred`, the replicates are shifted so that their mean equals the score, and clipped at 0, because
    resampling inflates a sum of absolute gaps such as the calibration error.
    """
    scores, replicates = values[:, 0], values[:, 1:].mean(axis=0)
    if not np.isfinite(scores).all():
        return {"mean": None, "std": None, "low": None, "high": None}
    replicates = replicates[np.isfinite(replicates)]
    if centred and replicates.size:
        replicates = (replicates - replicates.mean() + scores.mean()).clip(0)
    low, high = np.percentile(replicates, [2.5, 97.5]).tolist() if replicates.size else (None, None)
    std = float(scores.std(ddof=1)) if len(scores) > 1 else None
    return {"mean": float(scores.mean()), "std": std, "low": low, "high": high}


def _ratio(part: Floats, whole: Floats) -> Floats:
    """The quotient; NaN where the denominator is not positive."""
    undefined: Floats = np.full(np.shape(part), np.nan)
    return np.divide(part, whole, out=undefined, where=whole > 0)


def _macro(values: Floats, has_images: NDArray[np.bool_]) -> Floats:
    """The mean [R] of [R, C] over the classes with images; NaN where one of them is undefined."""
    return _ratio(values[:, has_images].sum(1), np.full(len(values), has_images.sum(), np.float64))


def _auc(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """[R], the weighted share of (positive, negative) pairs in the right order; ties count half."""
    order = np.argsort(scores)
    # The first place of each distinct score, so that the sums below are over ties.
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    ordered, is_positive = weights.T[order], positive[order, None]
    positives = np.add.reduceat(ordered * is_positive, starts)
    negatives = np.add.reduceat(ordered * ~is_positive, starts)
    concordant = (positives * (negatives.cumsum(0) - negatives / 2)).sum(0)
    return _ratio(concordant, positives.sum(0) * negatives.sum(0))


def _calibration_error(confidence: Floats, correct: NDArray[np.bool_], weights: Floats) -> Floats:
    """[R], the mean absolute gap between accuracy and confidence over bins of confidence."""
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(int).clip(1, CALIBRATION_BINS) - 1
    gaps = weights @ ((correct - confidence)[:, None] * np.eye(CALIBRATION_BINS)[bins])
    return _ratio(np.abs(gaps).sum(1), weights.sum(1))
