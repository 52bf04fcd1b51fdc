"""Made-up answers of classifiers."""

import numpy as np


def one_hot(named: np.ndarray, size: int = 2) -> np.ndarray:
    return np.eye(size)[named]


def drawn(seed: int, n: int = 200, accuracy: float = 0.8, groups: int | None = None):
    """Predictions of two classes; with `groups`, the images of one group are all right or all wrong."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    group = np.arange(n) if groups is None else np.arange(n) * groups // n
    right = (generator.random(n) < accuracy)[group]
    return one_hot(np.where(right, labels, 1 - labels))[None], labels, group


def width(summary: dict[str, float]) -> float:
    return summary["high"] - summary["low"]
