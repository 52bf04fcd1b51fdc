"""Made-up predictions of classifiers."""

import numpy as np


def one_hot(predicted: np.ndarray, size: int = 2) -> np.ndarray:
    """Class numbers [...] as probabilities [..., size]."""
    return np.eye(size)[predicted]


def drawn(seed: int, n: int = 200, accuracy: float = 0.8, groups: int | None = None):
    """Predictions of two classes; with `groups`, the images of one group are all right or all wrong."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    group = np.arange(n) if groups is None else np.arange(n) * groups // n
    right = (generator.random(n) < accuracy)[group]
    return one_hot(np.where(right, labels, 1 - labels))[None], labels, group


def wrong_every(step: int, labels: np.ndarray, size: int = 4) -> np.ndarray:
    """One-hot predictions [N, size] that are wrong on every so-manieth image, and right on the others."""
    wrong = np.arange(len(labels)) % step == 0
    return one_hot(np.where(wrong, (labels + 1) % size, labels), size)


def width(summary: dict[str, float]) -> float:
    """The width of a measure's interval."""
    return summary["high"] - summary["low"]
