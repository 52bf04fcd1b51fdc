"""What is said of a winner beside its untuned baseline."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from predicted import predictions

from tune_brain.evaluate.scores import _verdict
from tune_brain.records import BASELINE


@pytest.mark.parametrize(
    ("configuration", "said"), [(BASELINE, "the untuned baseline won"), (3, "its untuned baseline diverged")]
)
def test_a_baseline_that_diverged_has_not_won(configuration: int, said: str) -> None:
    labels = np.arange(40) % 4
    right = np.eye(4)[labels]
    test = predictions(labels, probabilities={"winner-cnn-0": right, "nearest_neighbour": right[::-1]})
    winner: Any = SimpleNamespace(configuration=configuration)
    assert said in _verdict(test, "cnn", winner, np.zeros((0, 40, 4)))
