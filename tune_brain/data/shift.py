"""Distribution shift between the test part and the other parts, and scores that any model must beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tune_brain.array_types import Bytes, Flags, Floats, Ints
from tune_brain.data.image_facts import ImageFacts
from tune_brain.data.similarity import nearest

DARK = 25
"""Pixels darker than this count as background."""
STATISTICS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("lower in contrast", "higher in contrast"),
    "background": ("less dark background", "more dark background"),
    "pixels": ("smaller", "larger"),
    "aspect": ("narrower", "wider"),
}
"""The statistics of an image, with the words for less and for more of each."""
ELSEWHERE = 0.8
"""A class's test images come from elsewhere if, in at least this share of all pairs of a test and a training
image, a statistic of the test image is the larger one, or in at least this share the smaller one. Each group
of related images weighs as much as any other.

The share is 0.5 if both parts come from one source; for 20 independent groups its standard deviation is 0.07.
"""
ENOUGH = 20
"""Groups that a class needs in the test part and outside it for a verdict on where its test images come from;
twins and neighbouring slices are one observation."""
SAMPLE = 1000
"""Training images whose most similar other training image is looked up: enough for a histogram."""
BINS = np.array([0, *(round(1 - n / 10**d, d) for d in (1, 2, 3, 4) for n in range(9, 0, -1)), 1])
"""Edges of the histogram of correlations, ten times denser from .9, from .99 and from .999 on.

One edge is the threshold of twins, so that the valley around it is visible.
"""


def statistics(facts: ImageFacts) -> dict[str, Floats]:
    """The `STATISTICS` of each image, [N] by name; greys in 0..255, background as a share of the pixels."""
    greys = np.arange(256)
    pixels = facts.histograms.sum(1, dtype=np.int64)
    mean = facts.histograms @ greys / pixels
    return {
        "brightness": mean,
        "contrast": np.sqrt(np.clip(facts.histograms @ greys**2 / pixels - mean**2, 0, None)),
        "background": facts.histograms[:, :DARK].sum(1) / pixels,
        "pixels": pixels.astype(np.float64),
        "aspect": facts.sizes[:, 0] / facts.sizes[:, 1],
    }


def origin(
    statistics: dict[str, Floats],
    labels: Ints,
    test: Flags,
    seen: Flags,
    groups: Ints,
    classes: Sequence[str],
) -> dict[str, Any]:
    """For each class, judge whether its test images come from the same source as its other images.

    Only unseen test images are compared, since those with a twin or their patient in the other parts do come
    from there.

    Args:
        statistics: [N] values by name, see the function `statistics`.
        labels: [N] classes by number.
        test: [N] true in the test part.
        seen: [N] true for test images with a twin or their patient in the other parts.
        groups: [N] groups that count as one observation, numbered separately in and outside the test part.
        classes: names.

    Returns:
        By class: `n`, number of test images compared; `groups`, number of their groups; `shares`, for each
        statistic the share of all pairs of a test and another image in which the test image has the larger
        value, each group weighing as much as any other; `elsewhere`, the verdict, None with too few groups;
        `by` and `share`, the statistic that differs most and its share.
    """
    verdicts = {}
    for number, name in enumerate(classes):
        in_class = labels == number
        verdicts[name] = _verdict(statistics, in_class & test & ~seen, in_class & ~test, groups)
    return verdicts


def _verdict(statistics: dict[str, Floats], unseen: Flags, others: Flags, groups: Ints) -> dict[str, Any]:
    """The verdict of `origin` on one class, given its unseen test images [N] and its other images [N]."""
    weights = [_weights(groups[side]) for side in (unseen, others)]
    shares = {
        statistic: _superiority(values[unseen], values[others], *weights)
        for statistic, values in statistics.items()
    }
    known = {statistic: share for statistic, share in shares.items() if share is not None}
    by = max(known, key=lambda statistic: abs(known[statistic] - 0.5), default=None)
    share = known[by] if by else None
    unseen_groups, other_groups = (len(np.unique(groups[side])) for side in (unseen, others))
    enough = min(unseen_groups, other_groups) >= ENOUGH
    return {
        "n": int(unseen.sum()),
        "groups": unseen_groups,
        "shares": shares,
        "elsewhere": max(share, 1 - share) >= ELSEWHERE if share is not None and enough else None,
        "by": by,
        "share": share,
    }


def _weights(groups: Ints) -> Floats:
    """Weights of images that add up to 1, equal for each group and within it."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights: Floats = 1 / sizes[group] / len(sizes)
    return weights


def _superiority(
    values: Floats,
    others: Floats,
    weights: Floats,
    weights_of_others: Floats,
) -> float | None:
    """Share of all pairs in which the value exceeds the other, ties counting half; None without pairs.

    A pair has the product of its images' weights, which add up to 1 on each side. With equal weights this is
    the probability of superiority, the Mann-Whitney U divided by the number of pairs.
    """
    if not len(values) or not len(others):
        return None
    order = np.argsort(others)
    up_to = np.concatenate([[0.0], np.cumsum(weights_of_others[order])])
    shares = sum(up_to[np.searchsorted(others[order], values, side)] for side in ("left", "right"))
    return round(float(weights @ shares) / 2, 4)


def nearness(
    thumbnails: Bytes, labels: Ints, test: Flags, classes: Sequence[str]
) -> tuple[dict[str, Any], Ints]:
    """Correlations of images with their nearest neighbours outside the test part.

    Args:
        thumbnails: [N, h, w].
        labels: [N] classes by number.
        test: [N] true in the test part.
        classes: names.

    Returns:
        Histograms: `edges`, counts of `test` and of `train` (a sample), and the `median` of the test
        images by class; and the class of the nearest neighbour of each test image, [T], empty without a test
        part.
    """
    others = thumbnails[~test]
    sample = np.arange(0, len(others), -(-len(others) // SAMPLE))
    histograms: dict[str, Any] = {"edges": BINS.tolist()}
    _, within = nearest(others, others[sample], sample)
    neighbour, similarity = nearest(others, thumbnails[test])
    for part, values in (("test", similarity), ("train", within)):
        histograms[part] = np.histogram(np.clip(values, 0, 1), BINS)[0].tolist()
    histograms["median"] = {
        name: round(float(np.median(similarity[own])), 4) if (own := labels[test] == number).any() else None
        for number, name in enumerate(classes)
    }
    return histograms, labels[~test][neighbour]


def floor(labels: Ints, test: Flags, seen: Flags, neighbours: Ints) -> dict[str, Any]:
    """Scores that any model must beat: those of the majority class and of the nearest thumbnail's class.

    Args:
        labels: [N] classes by number.
        test: [N] true in the test part.
        seen: [N] true for test images with a twin or their patient in the other parts.
        neighbours: [T] class of each test image's nearest neighbour outside the test part.

    Returns:
        For `majority` and `nearest_neighbour`, on `official` and `unseen`: `n`, `accuracy` and `macro_f1`
        over the classes that occur in that part; the last two are None without images.
    """
    majority = np.bincount(labels[~test]).argmax()
    true, unseen = labels[test], ~seen[test]
    predictions = {"majority": np.full(len(true), majority), "nearest_neighbour": neighbours}
    parts = {"official": np.ones(len(true), bool), "unseen": unseen}
    return {
        name: {part: _score(true[inside], predicted[inside]) for part, inside in parts.items()}
        for name, predicted in predictions.items()
    }


def _score(true: Ints, predicted: Ints) -> dict[str, Any]:
    if not len(true):
        return {"n": 0, "accuracy": None, "macro_f1": None}
    classes = max(true.max(), predicted.max()) + 1
    hits, actual, claimed = (
        np.bincount(labels, minlength=classes) for labels in (true[true == predicted], true, predicted)
    )
    f1 = 2 * hits[actual > 0] / (actual + claimed)[actual > 0]
    return {
        "n": len(true),
        "accuracy": round(float((true == predicted).mean()), 4),
        "macro_f1": round(float(f1.mean()), 4),
    }
