"""Training metrics against scikit-learn's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from tune_brain.train.metrics import accuracy, confusion, macro_f1


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    """A number of classes, predictions and labels; some classes are never true or never predicted."""
    classes = draw(st.integers(2, 5))
    pairs = draw(
        st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=30)
    )
    predicted, labels = zip(*pairs, strict=True)
    return classes, list(predicted), list(labels)


@settings(max_examples=50, deadline=None)
@given(outcomes())
def test_scores_equal_those_of_scikit_learn(outcome: tuple[int, list[int], list[int]]) -> None:
    classes, predicted, labels = outcome
    counts = confusion(torch.tensor(predicted), torch.tensor(labels), classes)
    assert np.array_equal(
        counts.numpy(), sklearn.confusion_matrix(labels, predicted, labels=list(range(classes)))
    )
    assert accuracy(counts) == pytest.approx(sklearn.accuracy_score(labels, predicted), abs=1e-6)
    expected = sklearn.f1_score(
        labels, predicted, labels=sorted(set(labels)), average="macro", zero_division=0
    )
    assert macro_f1(counts) == pytest.approx(expected)


def test_the_rows_of_a_confusion_matrix_are_true_classes() -> None:
    assert confusion(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 1]), 2).tolist() == [[0, 2], [1, 0]]
