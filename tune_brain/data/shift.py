"""Distribution shift: do test images look like the other images, and how far does a nearest neighbour get?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.data.image_facts import ImageFacts
from tune_brain.data.similarity import Similarity

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

DARK = 25
"""Pixels below this grey are background."""
STATISTICS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("flatter", "richer in contrast"),
    "background": ("less dark background", "more dark background"),
    "pixels": ("smaller", "larger"),
    "aspect": ("narrower", "wider"),
}
"""What is measured of an image, and what less and more of it is called."""
ELSEWHERE = 0.8
"""Share of pairs of a test and a training image in which the one has more of something.

0.5 where both parts are drawn from one source. Of 20 independent images so drawn one share strays by 0.07.
"""
ENOUGH = 20
"""Groups of a class that it takes on either side to say where the test images come from: twins and
neighbouring slices are one observation."""
ASKED = 1000
"""Training images whose likest other training image is looked for: enough to draw a histogram."""
BINS = np.array([0, *(round(1 - n / 10**d, d) for d in (1, 2, 3, 4) for n in range(9, 0, -1)), 1])
"""Edges of a histogram of correlations, a tenth as far apart from .9, .99 and .999 on.

One is where twins begin, so that the valley about it can be seen.
"""


def statistics(facts: ImageFacts) -> dict[str, NDArray[np.float64]]:
    """What is measured of each image, [N] by name: see STATISTICS; greys in 0..255, background as a share."""
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
    measured: dict[str, NDArray[np.float64]],
    labels: Ints,
    test: Flags,
    leaked: Flags,
    groups: Ints,
    classes: Sequence[str],
) -> dict[str, Any]:
    """For each class, whether its test images look as its other images do.

    Only test images without a twin in the other parts are asked, since the others come from there.

    Args:
        measured: [N] by name, see `statistics`.
        labels: [N] classes by number.
        test: [N] true in the test part.
        leaked: [N] true for test images with a twin in the other parts.
        groups: [N] what is one observation, numbered among the test images and among the others.
        classes: names.

    Returns:
        By class: `n` images asked, from so many `groups`, `shares` by STATISTICS (in what share of all
        pairs of a test and another image the test image has more), `elsewhere` (None where there are too
        few groups to say), and then `by` and `share`, the most telling statistic.
    """
    found = {}
    for number, name in enumerate(classes):
        own = labels == number
        asked, known = own & test & ~leaked, own & ~test
        shares = {
            statistic: _superiority(values[asked], values[known]) for statistic, values in measured.items()
        }
        told = [statistic for statistic in shares if shares[statistic] is not None]
        by = max(told, key=lambda statistic: abs((shares[statistic] or 0.0) - 0.5), default=None)
        share = shares[by] if by else None
        n = [len(np.unique(groups[side])) for side in (asked, known)]
        enough = min(n) >= ENOUGH
        found[name] = {
            "n": int(asked.sum()),
            "groups": n[0],
            "shares": shares,
            "elsewhere": max(share, 1 - share) >= ELSEWHERE if share is not None and enough else None,
            "by": by,
            "share": share,
        }
    return found


def _superiority(asked: NDArray[np.float64], known: NDArray[np.float64]) -> float | None:
    """Share of all pairs in which the asked value is larger, ties by half; None where there is no pair.

    The probability of superiority: Mann and Whitney's U divided by the number of pairs.
    """
    if not len(asked) or not len(known):
        return None
    known = np.sort(known)
    below, up_to = (np.searchsorted(known, asked, side) for side in ("left", "right"))
    return round(float((below + up_to).mean() / 2 / len(known)), 4)


def nearness(
    thumbnails: NDArray[np.uint8], labels: Ints, test: Flags, classes: Sequence[str]
) -> tuple[dict[str, Any], Ints]:
    """How alike the test images are to the others, and the others to each other.

    Returns:
        Edges of bins and counts for "test" and "train" (a sample), and for each class the median of "test";
        and the class of the likest other image of each test image, [T], empty without a test part.
    """
    known = Similarity(thumbnails[~test])
    sample = np.arange(0, len(known.thumbnails), -(-len(known.thumbnails) // ASKED))
    found: dict[str, Any] = {"edges": BINS.tolist()}
    _, among = known.nearest(known.thumbnails[sample], sample)
    place, similarity = known.nearest(thumbnails[test])
    for part, values in (("test", similarity), ("train", among)):
        found[part] = np.histogram(np.clip(values, 0, 1), BINS)[0].tolist()
    found["median"] = {
        name: round(float(np.median(similarity[own])), 4) if (own := labels[test] == number).any() else None
        for number, name in enumerate(classes)
    }
    return found, labels[~test][place]


def floor(labels: Ints, test: Flags, leaked: Flags, neighbours: Ints) -> dict[str, Any]:
    """What any model must beat: the commonest class, and the class of the likest thumbnail.

    Args:
        labels: [N] classes by number.
        test: [N] true in the test part.
        leaked: [N] true for test images with a twin in the other parts.
        neighbours: [T] for each test image the class of its likest image in the other parts.

    Returns:
        For `majority` and `nearest_neighbour`, on `official` and `unseen`: n, accuracy and macro_f1, over the
        classes that the part has; the last two None without images.
    """
    commonest = np.bincount(labels[~test]).argmax()
    true, unseen = labels[test], ~leaked[test]
    said = {"majority": np.full(len(true), commonest), "nearest_neighbour": neighbours}
    parts = {"official": np.ones(len(true), bool), "unseen": unseen}
    return {
        name: {part: _score(true[inside], answers[inside]) for part, inside in parts.items()}
        for name, answers in said.items()
    }


def _score(true: Ints, said: Ints) -> dict[str, Any]:
    if not len(true):
        return {"n": 0, "accuracy": None, "macro_f1": None}
    right, there, told = (
        np.bincount(one, minlength=max(true.max(), said.max()) + 1)
        for one in (true[true == said], true, said)
    )
    f1 = 2 * right[there > 0] / (there + told)[there > 0]
    return {
        "n": len(true),
        "accuracy": round(float((true == said).mean()), 4),
        "macro_f1": round(float(f1.mean()), 4),
    }
