"""Calibration on validation: temperatures, ensemble weights, and the confidence below which a model abstains.

Nothing here may see the sealed test. All functions take arrays: logits or probabilities, and true classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from tune_brain.array_types import Flags, Floats, Ints

ERROR_RATE = 0.02
"""The largest share of wrong answers, among those given, that a model may have on validation."""
LEAST_CONFIDENCE = 0.5
"""A model never answers below this: there it holds its own answer to be more likely wrong than right.

Without this floor, a model that is wrong on less than `ERROR_RATE` of all validation images would answer at
any confidence, even where nearly all of its unsure answers are wrong.
"""
FEWEST_ANSWERS = 50
"""A model never answers where validation has fewer answers than this to judge by: one wrong one of them would
exceed `ERROR_RATE`, so that fewer without any are luck rather than evidence."""
FALSE_REJECTIONS = 0.02
"""The share of validation images that may be rejected as out-of-distribution."""
STEPS = 500
"""Iterations of expectation-maximisation; on 800 images and 4 members the weights settle after about 100."""


def temperature(logits: NDArray[Any], labels: Ints) -> float:
    """The temperature, 0.05 to 20, by which to divide logits [N, C] for the least log loss on labels [N].

    If no image is misclassified, it is 1 or more: the loss then falls with every smaller temperature, however
    overconfident on other images.

    Temperature scaling: Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
    """
    logits = logits.astype(np.float64)
    least = 1.0 if (logits.argmax(1) == labels).all() else 0.05

    def loss(log_temperature: float) -> float:
        # log_softmax, since the logarithm of a probability that was rounded to 0 would be infinite.
        logs = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-logs[np.arange(len(labels)), labels].mean())

    optimum = minimize_scalar(loss, bounds=(np.log(least), np.log(20)), method="bounded")
    return float(np.exp(optimum.x))


def weights(members: Floats, labels: Ints) -> Floats:
    """Ensemble weights [M] that minimise the log loss of the members' weighted mean.

    Expectation-maximisation for the weights of a mixture of fixed components (Dempster et al., 1977). The
    loss is convex in the weights, and each iteration lowers it.

    Args:
        members: probabilities [M, N, C].
        labels: [N], true classes.
    """
    of_label = members[:, np.arange(len(labels)), labels].clip(np.finfo(np.float64).tiny)
    shares = np.full(len(members), 1 / len(members))
    for _ in range(STEPS):
        joint = shares[:, None] * of_label
        shares = (joint / joint.sum(0)).mean(1)
    return shares


def abstention(probabilities: Floats, labels: Ints, foreign: Flags) -> dict[str, Any]:
    """The lowest confidence, `LEAST_CONFIDENCE` or more, from which a model's error rate is low enough.

    At least `FEWEST_ANSWERS` must show that, all of them to images that are not rejected anyway.

    Selective classification: Geifman & El-Yaniv (NIPS 2017), without their bound: other images from the same
    source may show somewhat more errors.

    Args:
        probabilities: [N, C], on validation.
        labels: [N], true classes.
        foreign: [N], True where an image is rejected as out-of-distribution, whatever the confidence.

    Returns:
        `min_confidence`, one that validation shows (2, which no probability reaches, if none is high enough);
        `error_rate`, the largest allowed; and on validation `answered`, the share of images with at least
        that confidence that are not rejected, `errors`, the share of wrong answers among them (None without
        answers), and `n`, rejected ones included.
    """
    known = probabilities[~foreign]
    confidence, wrong = known.max(1), known.argmax(1) != labels[~foreign]
    order = np.argsort(-confidence, kind="stable")
    errors = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    # A threshold cannot separate images of equal confidence, so only the last of them is a candidate.
    last = np.append(np.diff(confidence[order]) < 0, True)
    allowed = last & (errors <= ERROR_RATE) & (confidence[order] >= LEAST_CONFIDENCE)
    allowed[: FEWEST_ANSWERS - 1] = False
    thresholds = np.flatnonzero(allowed)
    count = int(thresholds[-1]) + 1 if len(thresholds) else 0
    return {
        "min_confidence": float(confidence[order[count - 1]]) if count else 2.0,
        "error_rate": ERROR_RATE,
        "answered": count / len(labels),
        "errors": float(errors[count - 1]) if count else None,
        "n": len(labels),
    }
