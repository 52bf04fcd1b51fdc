"""How often the 95 % interval of a macro-F1 covers the truth, by the number of groups of each class.

    python tests/benchmarks/coverage.py [--quick] [--repeats 300]

Simulated tests of four classes, in groups of ten images. The share of a group that is classified correctly is
drawn from a beta distribution with most of its mass near 0 and 1, so that the images of a group are mostly
right or wrong together; a wrong answer is any other class. The truth is the macro-F1 of 20,000 groups of each
class. Here every number of groups gets an interval, also those for which the product gives none.
"""

from unittest.mock import patch

import measure
import numpy as np
from numpy.typing import NDArray

from tune_brain.evaluate import statistics

CLASSES, IMAGES = 4, 10
GROUPS = (1, 2, 3, 5, 8, 12)
ACCURACIES = (0.7, 0.9)
CONCENTRATION = 0.5
"""The sum of the beta distribution's parameters: the smaller, the more alike are the images of a group."""


def drawn(
    groups: int, accuracy: float, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Predictions, one-hot [1, N, C], labels [N] and group numbers [N] of one simulated test."""
    labels = np.arange(CLASSES * groups).repeat(IMAGES) % CLASSES
    shares = random.beta(CONCENTRATION * accuracy, CONCENTRATION * (1 - accuracy), CLASSES * groups)
    right = random.random(len(labels)) < shares.repeat(IMAGES)
    other = (labels + random.integers(1, CLASSES, len(labels))) % CLASSES
    predicted = np.where(right, labels, other)
    return np.eye(CLASSES)[predicted][None], labels, np.arange(CLASSES * groups).repeat(IMAGES)


def coverage(groups: int, accuracy: float, repeats: int) -> float:
    """The share of simulated tests whose interval holds the truth."""
    random = np.random.default_rng([groups, round(100 * accuracy)])
    predicted, labels, _ = drawn(20_000, accuracy, random)
    truth = statistics.weighted_measures(
        predicted[0], labels, np.ones((1, len(labels))), probabilistic=False
    )["f1"][0]
    names, covered = [str(name) for name in range(CLASSES)], 0
    for _ in range(repeats):
        found = statistics.score(*drawn(groups, accuracy, random), names, probabilistic=False)["f1"]
        covered += found["low"] is not None and found["low"] <= truth <= found["high"]
    return covered / repeats


def main() -> None:
    options = measure.parser(__doc__)
    options.set_defaults(repeats=300)
    args = options.parse_args()
    repeats = 20 if args.quick else args.repeats
    with patch.object(statistics, "FEWEST_GROUPS", 1):
        shares = {
            f"accuracy {accuracy}": {str(groups): coverage(groups, accuracy, repeats) for groups in GROUPS}
            for accuracy in ACCURACIES
        }
    measure.report("coverage", {"repeats": repeats, "covered, by groups": shares}, quick=args.quick)


if __name__ == "__main__":
    main()
