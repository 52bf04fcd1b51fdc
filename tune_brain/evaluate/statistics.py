"""Scores with their spread over seeds and their interval over groups, and tests between classifiers.

Every measure is computed under many sets of image weights at once: the first set weighs each image once and
gives the score itself; the others are bootstrap replicates, in which the weight of an image is how often its
group was drawn. Within this file an undefined value is NaN; outside, it is None.
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
"""Equal bins of confidence, as in Guo et al., On Calibration of Modern Neural Networks (ICML 2017)."""

BLOCK = 2_000_000
"""Weights (replicates times images) held at once: 16 MB."""


def score(
    probabilities: Floats,
    labels: Ints,
    groups: Ints,
    classes: Sequence[str],
    *,
    probabilistic: bool = True,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Every measure of one classifier on one set of images, as plain JSON values.

    A measure is `{"mean", "std", "low", "high"}`: mean and sample standard deviation over the seeds, and the
    95 % percentile interval of that mean when whole groups of images are drawn with replacement (Davison &
    Hinkley, Bootstrap Methods and their Application, 1997). What is undefined is None: `std` of one seed, the
    interval of one group, all four where a class has no images. Macro averages leave such a class out; draws
    that miss a class which has images do not count for them, as another average would be another measure.

    Args:
        probabilities: [S, N, C], for each seed; one-hot of a classifier that only names classes.
        labels: [N], true classes as indices.
        groups: [N], images of one group share a number.
        classes: C names.
        probabilistic: False leaves out what needs probabilities: ROC AUC, log loss, calibration error.
        replicates: Bootstrap samples.
        seed: Decides them.
    """
    seeds, n, size = probabilities.shape
    blocks = [
        [
            weighted_measures(one.astype(np.float64), labels, weights, probabilistic=probabilistic)
            for one in probabilities
        ]
        for weights in _weights(groups, replicates, seed)
    ]
    values = {
        name: np.concatenate([np.stack([one[name] for one in block]) for block in blocks], axis=1)
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
    """Every measure of one classifier under R sets of image weights; NaN where undefined.

    Agrees with scikit-learn under `sample_weight`, with `zero_division=0` and the labels that have images.
    Macro averages are undefined where one of these has no weight.

    Args:
        probabilities: [N, C].
        labels: [N], true classes as indices.
        weights: [R, N], not negative.
        probabilistic: False leaves out ROC AUC, log loss and calibration error.

    Returns:
        [R] by measure, and [R, C] by `class_` and measure.
    """
    size = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    cells = np.eye(size * size)[labels * size + predicted]
    confusion = (weights @ cells).reshape(-1, size, size)
    total = weights.sum(1)
    hits, truth, named = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(2), confusion.sum(1)
    recall = _ratio(hits, truth)
    present, there = truth > 0, np.bincount(labels, minlength=size) > 0
    precision = np.where(present, np.nan_to_num(_ratio(hits, named)), np.nan)
    f1 = np.where(present, _ratio(2 * hits, truth + named), np.nan)
    measures = {
        "accuracy": _ratio(hits.sum(1), total),
        "balanced_accuracy": _macro(recall, there),
        "precision": _macro(precision, there),
        "recall": _macro(recall, there),
        "f1": _macro(f1, there),
        "class_precision": precision,
        "class_recall": recall,
        "class_f1": f1,
    }
    if probabilistic:
        auc = np.stack([_auc(probabilities[:, c], labels == c, weights) for c in range(size)], axis=1)
        chosen = probabilities[np.arange(len(labels)), labels].clip(np.finfo(np.float64).eps, 1)
        measures["class_roc_auc"], measures["roc_auc"] = auc, _macro(auc, there)
        measures["log_loss"] = _ratio(weights @ -np.log(chosen), total)
        measures["calibration_error"] = _calibration_error(probabilities.max(1), predicted == labels, weights)
    return measures


def difference(a: Floats, b: Floats, labels: Ints, groups: Ints) -> dict[str, float | None]:
    """How much more macro-F1 one classifier has than another on the same images, over their seeds.

    Paired: both are scored on the same draws of groups, so what makes a draw hard for both cancels out. Each
    draw takes seeds of both with replacement, too, since other seeds would give another difference; what few
    seeds scatter less than many is made good (Davison & Hinkley, 1997, chapter 2.3).

    Args:
        a: [S, N, C], probabilities of the one, for each of its seeds.
        b: [T, N, C], those of the other.
        labels: [N], true classes as indices.
        groups: [N], images of one group share a number.

    Returns:
        `mean`, and `low` and `high` of its 95 % percentile interval; None where undefined.
    """
    blocks = [
        (_f1(a, labels, weights), _f1(b, labels, weights))
        for weights in _weights(groups, replicates=1000, seed=0)
    ]
    chance = np.random.default_rng(0)
    ours, theirs = (_over_seeds(np.concatenate(one, axis=1), chance) for one in zip(*blocks, strict=True))
    gaps = ours - theirs
    summary = _summary(gaps[None])
    return {name: summary[name] for name in ("mean", "low", "high")}


def _f1(probabilities: Floats, labels: Ints, weights: Floats) -> Floats:
    """[S, R], macro-F1 of each seed of [S, N, C] under each set of weights."""
    each = [weighted_measures(one, labels, weights, probabilistic=False)["f1"] for one in probabilities]
    return np.stack(each)


def _over_seeds(values: Floats, chance: np.random.Generator) -> Floats:
    """[1 + R], the mean over the seeds of [S, 1 + R], and in each replicate over as many that are drawn."""
    mean: Floats = values.mean(0)
    if (seeds := len(values)) == 1:
        return mean
    drawn = chance.integers(seeds, size=values.shape)
    apart: Floats = np.take_along_axis(values - mean, drawn, 0).mean(0) * (seeds / (seeds - 1)) ** 0.5
    apart[0] = 0
    return mean + apart


def mcnemar(a_correct: NDArray[np.bool_], b_correct: NDArray[np.bool_]) -> dict[str, Any]:
    """Exact McNemar test of two classifiers on the same images: only where they disagree do they differ.

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
    """P-values corrected for having been several (Holm, Scand. J. Statist. 6, 1979), in the order given."""
    order = sorted(range(len(p)), key=p.__getitem__)
    raised = accumulate((min(1.0, (len(p) - i) * p[k]) for i, k in enumerate(order)), max)
    corrected = dict(zip(order, raised, strict=True))
    return [corrected[k] for k in range(len(p))]


def _weights(groups: Ints, replicates: int, seed: int) -> Iterator[Floats]:
    """Blocks of weights [R, N]: ones, then for each replicate how often each image's group was drawn."""
    yield np.ones((1, len(groups)))
    each, group = np.unique(groups, return_inverse=True)
    count = len(each)
    if count < 2:
        return
    generator = np.random.default_rng(seed)
    rows = max(1, BLOCK // len(group))
    for start in range(0, replicates, rows):
        draws = generator.multinomial(count, np.full(count, 1 / count), size=min(rows, replicates - start))
        yield draws[:, group].astype(np.float64)


def _summary(values: Floats, *, centred: bool = False) -> dict[str, float | None]:
    """Mean, standard deviation and interval of [S, 1 + R] values: the scores, then their replicates.

    Where replicates are `centred`, what they lie above the score on the mean is taken off, down to 0: a sum
    of gaps without sign, as the calibration error, grows by every resampling.
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
    undefined: Floats = np.full(np.shape(part), np.nan)
    return np.divide(part, whole, out=undefined, where=whole > 0)


def _macro(values: Floats, there: NDArray[np.bool_]) -> Floats:
    """The mean over the classes that are there, [R, C] -> [R]; NaN where one of them is undefined."""
    return _ratio(values[:, there].sum(1), np.full(len(values), there.sum(), np.float64))


def _auc(scores: Floats, positive: NDArray[np.bool_], weights: Floats) -> Floats:
    """[R], the weighted share of (positive, negative) pairs that the scores rank rightly; ties count half."""
    order = np.argsort(scores)
    ties = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    ordered, truth = weights.T[order], positive[order, None]
    above = np.add.reduceat(ordered * truth, ties)
    below = np.add.reduceat(ordered * ~truth, ties)
    right = (above * (below.cumsum(0) - below / 2)).sum(0)
    return _ratio(right, above.sum(0) * below.sum(0))


def _calibration_error(confidence: Floats, correct: NDArray[np.bool_], weights: Floats) -> Floats:
    """[R], the mean gap between accuracy and confidence in the named class, over bins of the confidence."""
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(int).clip(1, CALIBRATION_BINS) - 1
    gaps = weights @ ((correct - confidence)[:, None] * np.eye(CALIBRATION_BINS)[bins])
    return _ratio(np.abs(gaps).sum(1), weights.sum(1))
