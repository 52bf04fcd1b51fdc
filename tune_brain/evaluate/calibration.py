"""What validation says of a model's confidence: its temperature, its share in a mean, when it is to abstain.

Nothing here may see the sealed test. All on arrays: logits or probabilities, and true classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from tune_brain.evaluate.statistics import weighted_measures
from tune_brain.portable.probabilities import Floats, calibrated

Ints = NDArray[np.int64]

ERROR_RATE = 0.02
"""The share of wrong answers, among those given, that a model may have on validation."""
FALSE_REJECTIONS = 0.02
"""The share of validation images that may be taken for foreign."""
STEPS = 500
"""Of expectation and maximisation; on 800 images and 4 members the weights stand still after some 100."""


def temperature(logits: NDArray[Any], labels: Ints) -> float:
    """What to divide logits [N, C] by for the least log loss on true classes [N]; 0.05 to 20.

    Temperature scaling: Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
    """

    def loss(log_temperature: float) -> float:
        return log_loss(calibrated(logits, np.exp(log_temperature)), labels)

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def log_loss(probabilities: Floats, labels: Ints) -> float:
    """Mean cross-entropy in nats of probabilities [N, C]."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(chosen.clip(np.finfo(np.float64).tiny)).mean())


def calibration_error(probabilities: Floats, labels: Ints) -> float:
    """Expected calibration error of probabilities [N, C], over 15 bins of confidence."""
    measures = weighted_measures(probabilities, labels, np.ones((1, len(labels))))
    return float(measures["calibration_error"][0])


def weights(members: Floats, labels: Ints) -> Floats:
    """[M], shares that give the mean of probabilities [M, N, C] its least log loss.

    The weights of a mixture of fixed components, by expectation and maximisation (Dempster et al., 1977): the
    loss is convex in them, and each step lowers it.
    """
    said = members[:, np.arange(len(labels)), labels].clip(np.finfo(np.float64).tiny)
    shares = np.full(len(members), 1 / len(members))
    for _ in range(STEPS):
        joint = shares[:, None] * said
        shares = (joint / joint.sum(0)).mean(1)
    return shares


def abstention(probabilities: Floats, labels: Ints, error_rate: float = ERROR_RATE) -> dict[str, Any]:
    """The lowest confidence from which on a model is wrong at most so often, by validation alone.

    Selective classification: Geifman & El-Yaniv (NIPS 2017), without their bound: other images from the same
    source may show somewhat more errors.

    Returns:
        `min_confidence` (2, which no probability reaches, where no confidence is enough), `error_rate`
        asked for, and on validation `answered`, the share of images with so much confidence, `errors`, the
        share of wrong ones among them (None without answers), `n`.
    """
    confidence, wrong = probabilities.max(1), probabilities.argmax(1) != labels
    order = np.argsort(-confidence, kind="stable")
    errors = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    # A threshold cannot part images of equal confidence.
    last = np.append(np.diff(confidence[order]) < 0, True)
    enough = np.flatnonzero(last & (errors <= error_rate))
    count = int(enough[-1]) + 1 if len(enough) else 0
    return {
        "min_confidence": float(confidence[order[count - 1]]) if count else 2.0,
        "error_rate": error_rate,
        "answered": count / len(labels),
        "errors": float(errors[count - 1]) if count else None,
        "n": len(labels),
    }
