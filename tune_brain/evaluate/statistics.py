"""Scores with their spread over seeds and confidence intervals over groups of related images.

Every measure is computed for many sets of image weights at once. The first set weighs each image once and
gives the score itself; the others are bootstrap replicates, in which an image's weight is how often its group
was drawn. Among replicates an undefined value is NaN; in results it is None.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from tune_brain.array_types import Flags, Floats, Ints

CALIBRATION_BINS = 15
"""Bins of equal width, as in Guo et al., On Calibration of Modern Neural Networks (ICML 2017)."""

REPLICATES, SEED = 1000, 0
"""Of each bootstrap."""

FEWEST_GROUPS = 3
"""A measure that rests on fewer groups gets no interval: too few different draws of them exist.

In simulations of four classes, where the images of a group are mostly right or wrong together, the nominal
95 % interval of the macro-F1 never covers the truth with one group per class, in 63 and 74 % of the cases
with two, in 79 and 87 % with three, and in 87 to 94 % with five or more (`tests/benchmarks/coverage.py`).
"""
TAIL = 0.025
"""Of the distribution, beyond either end of an interval."""
MACRO = frozenset({"balanced_accuracy", "precision", "recall", "f1", "roc_auc"})
"""The measures that average over the classes."""
PROPORTIONS = frozenset({"accuracy", "class_precision", "class_recall"})
"""The measures that are shares of images, for which an interval that ends at 0 or 1 can be exact."""

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
    one seed, all four for a class without images, and the interval of a measure that rests on fewer than
    `FEWEST_GROUPS` groups. A macro average rests on as many groups as the class with the fewest. A measure of
    one class rests on the groups of that class; its precision also needs enough groups that were taken for
    it, its ROC AUC enough of the other classes. Any other measure rests on all groups.

    Macro averages leave out classes without images. Replicates that miss any other class do not count for
    them, because an average over fewer classes would be another measure.

    If an accuracy, F1 or the like is exactly 0 or 1, so are all replicates, which says nothing about other
    images. Then a measure of `PROPORTIONS` has the exact interval of Clopper & Pearson (Biometrika 26, 1934)
    with groups in place of images, and any other measure has none.

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
        for weights in draws(groups)
    ]
    values = {
        name: np.concatenate([np.stack([of_seed[name] for of_seed in block]) for block in blocks], axis=1)
        for name in blocks[0][0]
    }
    predicted = probabilities.argmax(2)
    confusion = np.zeros((size, size), dtype=np.int64)
    np.add.at(confusion, (np.broadcast_to(labels, predicted.shape), predicted), 1)
    in_all, fewest = len(np.unique(groups)), fewest_groups(labels, groups)
    return {
        "n": n,
        "groups": in_all,
        "seeds": seeds,
        **{
            name: _summary(name, array, fewest if name in MACRO else in_all)
            for name, array in values.items()
            if array.ndim == 2
        },
        "per_class": {
            label: {
                "n": int((labels == column).sum()),
                **{
                    name.removeprefix("class_"): _summary(
                        name, array[..., column], _groups_behind(name, predicted, labels, groups, column)
                    )
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
    cells = np.zeros((len(labels), size * size))
    cells[np.arange(len(labels)), labels * size + predicted] = 1
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


def draws(groups: Ints) -> Iterator[Floats]:
    """Blocks of weights [R, N]: first ones, then in each replicate how often each image's group was drawn.

    Args:
        groups: [N], group numbers: related images share one. With fewer than `FEWEST_GROUPS` none is drawn.
    """
    yield np.ones((1, len(groups)))
    distinct, group = np.unique(groups, return_inverse=True)
    count = len(distinct)
    if count < FEWEST_GROUPS:
        return
    generator = np.random.default_rng(SEED)
    rows = max(1, BLOCK // len(group))
    for start in range(0, REPLICATES, rows):
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=min(rows, REPLICATES - start))
        yield drawn[:, group].astype(np.float64)


def fewest_groups(labels: Ints, groups: Ints) -> int:
    """The number of groups that show the class with the fewest; 0 without images.

    Args:
        labels: [N], true classes as indices; a class without images does not count.
        groups: [N], group numbers: related images share one.
    """
    return min((len(np.unique(groups[labels == c])) for c in np.unique(labels)), default=0)


def _groups_behind(name: str, predicted: Ints, labels: Ints, groups: Ints, column: int) -> int:
    """The number of groups on which a measure of the class at this column rests, over seeds [S, N]."""
    sets = [labels == column]
    if name == "class_precision":
        sets += list(predicted == column)
    if name == "class_roc_auc":
        sets.append(labels != column)
    return min(len(np.unique(groups[images])) for images in sets)


def _summary(name: str, values: Floats, groups: int) -> dict[str, float | None]:
    """`summary` by the rules for the measure of this name."""
    return summary(
        values,
        groups,
        at_bounds="exact" if name in PROPORTIONS else "none",
        centred=name == "calibration_error",
    )


def summary(
    values: Floats, groups: int, *, at_bounds: Literal["exact", "none", "keep"], centred: bool = False
) -> dict[str, float | None]:
    """Mean, standard deviation and interval of a measure that rests on so many groups.

    Args:
        values: [S, 1 + R], the scores of the seeds, then their replicates.
        groups: how many.
        at_bounds: the interval where the mean is 0 or 1: `exact`, that of a proportion; `none`; or `keep`,
            that of the replicates, for a measure whose bounds these are not.
        centred: shift the replicates so that their mean equals the score, and clip them at 0, because
            resampling inflates a sum of absolute gaps.
    """
    scores, replicates = values[:, 0], values[:, 1:].mean(axis=0)
    if not np.isfinite(scores).all():
        return {"mean": None, "std": None, "low": None, "high": None}
    mean, low, high = float(scores.mean()), None, None
    replicates = replicates[np.isfinite(replicates)]
    if groups >= FEWEST_GROUPS and replicates.size:
        if mean in (0, 1) and at_bounds == "exact":
            # No draw can contain what no image shows.
            limit = TAIL ** (1 / groups)
            low, high = (limit, 1.0) if mean else (0.0, 1 - limit)
        elif mean not in (0, 1) or at_bounds == "keep":
            if centred:
                replicates = (replicates - replicates.mean() + mean).clip(0)
            low, high = np.quantile(replicates, [TAIL, 1 - TAIL]).tolist()
    std = float(scores.std(ddof=1)) if len(scores) > 1 else None
    return {"mean": mean, "std": std, "low": low, "high": high}


def _ratio(part: Floats, whole: Floats) -> Floats:
    """The quotient; NaN where the denominator is not positive."""
    undefined: Floats = np.full(np.shape(part), np.nan)
    return np.divide(part, whole, out=undefined, where=whole > 0)


def _macro(values: Floats, has_images: Flags) -> Floats:
    """The mean [R] of [R, C] over the classes with images; NaN where one of them is undefined."""
    return _ratio(values[:, has_images].sum(1), np.full(len(values), has_images.sum(), np.float64))


def _auc(scores: Floats, positive: Flags, weights: Floats) -> Floats:
    """[R], the weighted share of (positive, negative) pairs in the right order; ties count half."""
    order = np.argsort(scores)
    # The first place of each distinct score, so that the sums below are over ties.
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    ordered, is_positive = weights.T[order], positive[order, None]
    positives = np.add.reduceat(ordered * is_positive, starts)
    negatives = np.add.reduceat(ordered * ~is_positive, starts)
    concordant = (positives * (negatives.cumsum(0) - negatives / 2)).sum(0)
    return _ratio(concordant, positives.sum(0) * negatives.sum(0))


def _calibration_error(confidence: Floats, correct: Flags, weights: Floats) -> Floats:
    """[R], the mean absolute gap between accuracy and confidence over bins of confidence."""
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(int).clip(1, CALIBRATION_BINS) - 1
    gaps = weights @ ((correct - confidence)[:, None] * np.eye(CALIBRATION_BINS)[bins])
    return _ratio(np.abs(gaps).sum(1), weights.sum(1))
