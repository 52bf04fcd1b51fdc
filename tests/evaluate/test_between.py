"""Comparisons of two classifiers: tests against worked examples, differences against known truths."""

import numpy as np
import pytest
from classified import drawn, one_hot, width
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_brain.evaluate.between import difference, holm, sign_test
from tune_brain.evaluate.statistics import score


def flags(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Where two classifiers are right, by the number of images: both, only a, only b, neither."""
    a = np.repeat([True, True, False, False], counts)
    return a, np.repeat([True, False, True, False], counts)


@pytest.mark.parametrize(
    ("counts", "p"),
    [
        ((5, 0, 6, 2), 2 / 2**6),
        ((0, 1, 9, 0), 2 * (1 + 10) / 2**10),
        ((3, 4, 4, 1), 1.0),
        ((7, 0, 0, 2), 1.0),
        ((0, 0, 0, 0), 1.0),
    ],
)
def test_over_single_images_the_sign_test_equals_worked_examples_of_mcnemars(counts, p):
    found = sign_test(*flags(*counts), np.arange(sum(counts)))
    assert (found["only_a"], found["only_b"]) == counts[1:3]
    assert (found["groups_a"], found["groups_b"]) == counts[1:3]
    assert found["p"] == pytest.approx(p)


def test_a_group_counts_once_for_the_classifier_that_is_right_on_more_of_its_images():
    # Group 7: a leads by 3; group 3: b leads by 1; group 5: neither leads; group 9: a leads by 1.
    groups = np.array([7, 7, 7, 3, 3, 3, 5, 5, 9])
    a = np.array([1, 1, 1, 1, 0, 0, 1, 0, 1], bool)
    b = np.array([0, 0, 0, 0, 1, 1, 0, 1, 0], bool)
    found = sign_test(a, b, groups)
    # Two signs against one are as even as three can be.
    assert found == {"only_a": 6, "only_b": 3, "groups_a": 2, "groups_b": 1, "p": 1.0}
    back = sign_test(b, a, groups)
    assert (back["only_a"], back["groups_a"], back["p"]) == (3, 1, 1.0)


def test_images_of_one_group_are_no_independent_evidence():
    a, b = np.ones(40, bool), np.zeros(40, bool)
    assert sign_test(a, b, np.arange(40) // 10)["p"] == pytest.approx(2 / 2**4)
    assert sign_test(a, b, np.zeros(40, int))["p"] == 1


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.4, 0.9], [1.0, 1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_equals_worked_examples(p, corrected):
    assert holm(p) == pytest.approx(corrected)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(p):
    corrected = holm(p)
    for raw, value in zip(p, corrected, strict=True):
        assert raw <= value <= min(1, len(p) * raw)
    order = np.argsort(p, kind="stable")
    assert list(np.array(corrected)[order]) == sorted(corrected)


def test_a_difference_is_between_macro_f1_scores():
    (a, labels, group), (b, _, _) = drawn(0), drawn(1, accuracy=0.6)
    scores = [score(one, labels, group, ("a", "b"))["f1"]["mean"] for one in (a, b)]
    gap = difference(a, b, labels, group)
    assert gap["mean"] == pytest.approx(scores[0] - scores[1])
    assert gap["low"] < gap["mean"] < gap["high"]
    back = difference(b, a, labels, group)
    assert [back["mean"], back["low"], back["high"]] == pytest.approx(
        [-gap["mean"], -gap["high"], -gap["low"]]
    )


def test_equal_classifiers_have_no_difference_in_any_replicate():
    probabilities, labels, group = drawn(0)
    same = difference(probabilities, np.concatenate([probabilities] * 3), labels, group)
    assert same == pytest.approx({"mean": 0.0, "low": 0.0, "high": 0.0})


def test_the_interval_of_a_difference_includes_the_variance_between_seeds():
    labels, groups = np.arange(4000) % 2, np.arange(4000)

    def trained(*accuracies: float) -> np.ndarray:
        right = np.arange(4000) % 100
        return one_hot(np.stack([np.where(right < 100 * one, labels, 1 - labels) for one in accuracies]))

    gap = difference(trained(0.8, 0.9, 0.7), trained(0.8, 0.8, 0.8), labels, groups)
    steady = difference(trained(0.8, 0.8, 0.8), trained(0.8, 0.8, 0.8), labels, groups)
    assert gap["mean"] == pytest.approx(0, abs=1e-9)
    assert width(steady) == 0
    # The mean of three seeds with a standard deviation of .1 has a standard error of .1 / sqrt(3).
    assert width(gap) == pytest.approx(2 * 1.96 * 0.1 / 3**0.5, rel=0.1)
    scattered = trained(0.8, 0.9, 0.7)
    both = difference(scattered, scattered, labels, groups)
    assert both["mean"] == 0
    assert width(both) == pytest.approx(2 * 1.96 * 0.1 * (2 / 3) ** 0.5, rel=0.15)


def test_a_difference_has_no_interval_where_a_class_has_few_groups_and_no_mean_without_images():
    probabilities, labels, group = drawn(0, n=100)
    few = np.where(labels == 1, 1000 + group % 2, group)
    two = difference(probabilities, probabilities, labels, few)
    assert two == {"mean": 0.0, "low": None, "high": None}
    three = difference(probabilities, probabilities, labels, np.where(labels == 1, 1000 + group % 3, group))
    assert three == {"mean": 0.0, "low": 0.0, "high": 0.0}
    nothing = difference(probabilities[:, :0], probabilities[:, :0], labels[:0], group[:0])
    assert nothing == {"mean": None, "low": None, "high": None}
