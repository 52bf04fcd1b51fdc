"""Measures against scikit-learn's, intervals against known truths."""

import json
import warnings
from typing import Any

import numpy as np
import pytest
from classified import drawn, one_hot, width
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics

from tune_brain.evaluate import statistics
from tune_brain.evaluate.statistics import CALIBRATION_BINS as BINS
from tune_brain.evaluate.statistics import score, weighted_measures

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


@st.composite
def cases(draw):
    """Probabilities with many ties, labels that may miss classes, and integer weights."""
    size, n = draw(st.integers(2, 4)), draw(st.integers(2, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    raw = generator.integers(1, draw(st.sampled_from([3, 50])), (n, size)).astype(float)
    labels = generator.integers(0, draw(st.integers(1, size)), n)
    weights = generator.integers(0, 4, n).astype(float)
    weights[np.unique(labels, return_index=True)[1]] += 1
    return raw / raw.sum(1, keepdims=True), labels, weights


@settings(deadline=None)
@given(cases())
def test_measures_of_predicted_classes_equal_those_of_scikit_learn(case):
    probabilities, labels, weights = case
    found = {
        name: value[0] for name, value in weighted_measures(probabilities, labels, weights[None]).items()
    }
    predicted, heavy = probabilities.argmax(1), np.unique(labels[weights > 0])
    scores = metrics.precision_recall_fscore_support(
        labels, predicted, labels=heavy, sample_weight=weights, zero_division=0
    )
    for name, expected in zip(("precision", "recall", "f1"), scores, strict=False):
        assert found[f"class_{name}"][heavy] == pytest.approx(expected)
        assert found[name] == pytest.approx(np.mean(expected))
        assert np.isnan(np.delete(found[f"class_{name}"], heavy)).all()
    assert found["accuracy"] == pytest.approx(
        metrics.accuracy_score(labels, predicted, sample_weight=weights)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns if a class without images is predicted
        balanced = metrics.balanced_accuracy_score(labels, predicted, sample_weight=weights)
    assert found["balanced_accuracy"] == pytest.approx(balanced)


@settings(deadline=None)
@given(cases())
def test_measures_of_probabilities_equal_those_of_scikit_learn(case):
    probabilities, labels, weights = case
    found = {
        name: value[0] for name, value in weighted_measures(probabilities, labels, weights[None]).items()
    }
    classes = range(probabilities.shape[1])
    expected = metrics.log_loss(labels, probabilities, labels=list(classes), sample_weight=weights)
    assert found["log_loss"] == pytest.approx(expected)
    defined = []
    for c in classes:
        truth = labels == c
        if 0 < weights[truth].sum() < weights.sum():
            defined.append(metrics.roc_auc_score(truth, probabilities[:, c], sample_weight=weights))
            assert found["class_roc_auc"][c] == pytest.approx(defined[-1])
        else:
            assert np.isnan(found["class_roc_auc"][c])
    assert found["roc_auc"] == pytest.approx(np.mean(defined) if defined else np.nan, nan_ok=True)


@settings(deadline=None)
@given(cases())
def test_the_calibration_error_is_the_weighted_gap_over_all_bins(case):
    probabilities, labels, weights = case
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    gap = 0.0
    for low in range(BINS):
        inside = (confidence > low / BINS) & (confidence <= (low + 1) / BINS)
        gap += abs((weights * (correct - confidence))[inside].sum())
    found = weighted_measures(probabilities, labels, weights[None])["calibration_error"][0]
    assert found == pytest.approx(gap / weights.sum())


@settings(deadline=None)
@given(cases())
def test_an_integer_weight_equals_repeating_the_image(case):
    probabilities, labels, weights = case
    times = weights.astype(int)
    repeated = probabilities.repeat(times, axis=0), labels.repeat(times), np.ones((1, times.sum()))
    weighed = weighted_measures(probabilities, labels, np.stack([weights, np.ones(len(labels))]))
    for name, value in weighted_measures(*repeated).items():
        assert weighed[name][0] == pytest.approx(value[0], nan_ok=True)


def test_a_replicate_that_misses_a_class_has_no_macro_average():
    """An average over the remaining classes would be another measure."""
    probabilities, labels = np.eye(3)[[0, 1, 1, 2]], np.array([0, 1, 2, 2])
    weights = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 3, 0]], dtype=float)
    found = weighted_measures(probabilities, labels, weights)
    for name in ("balanced_accuracy", "precision", "recall", "f1", "roc_auc"):
        assert np.isfinite(found[name]).tolist() == [True, False, False]
    assert found["accuracy"].tolist() == pytest.approx([0.75, 2 / 3, 0.25])
    # A class without images does not count as missed.
    absent = weighted_measures(np.eye(4)[[0, 1, 1, 2]], labels, weights[:1])
    assert absent["f1"][0] == pytest.approx(found["f1"][0])


def clustered(groups: int) -> dict[str, Any]:
    """Scores where a has 30 groups of one image, three of them taken for b, and b all right in so many."""
    labels = np.array([0] * 30 + [1] * 12)
    group = np.concatenate([np.arange(30), 100 + np.arange(12) % groups])
    named = one_hot(np.where(np.arange(42) < 27, 0, 1))
    probabilities = (0.8 * named + 0.1)[None]
    return score(probabilities, labels, group, ("a", "b"))


def test_the_interval_of_a_macro_average_is_over_replicates_with_every_class():
    """Three groups hold a whole class, and one in twenty of all replicates misses it."""
    assert clustered(3)["recall"]["low"] > 0.88


def test_what_rests_on_fewer_than_three_groups_has_no_interval():
    def without(found: dict[str, Any]) -> set[str]:
        return {
            name for name, value in found.items() if isinstance(value, dict) and value.get("low", 0) is None
        }

    for groups in (1, 2):
        few = clustered(groups)
        assert without(few) == {"balanced_accuracy", "precision", "recall", "f1", "roc_auc"}
        assert without(few["per_class"]["b"]) == {"precision", "recall", "f1", "roc_auc"}
        # The negatives of its ROC AUC are the other class.
        assert without(few["per_class"]["a"]) == {"roc_auc"}
        assert few["f1"]["mean"] is not None
    enough = clustered(3)
    assert not without(enough) | without(enough["per_class"]["a"]) | without(enough["per_class"]["b"])


def test_a_precision_rests_on_the_groups_that_are_taken_for_the_class():
    labels, named = np.array([0] * 20 + [1] * 20), np.array([0] * 20 + [0] * 18 + [1] * 2)
    found = score(one_hot(named)[None], labels, np.arange(40), ("a", "b"), probabilistic=False)
    assert found["per_class"]["b"]["precision"]["low"] is None
    assert found["per_class"]["b"]["recall"]["low"] is not None


def test_a_share_of_none_or_all_has_the_exact_interval_over_groups():
    """Against Clopper & Pearson's by SciPy: no group of six wrong, or all of them."""
    labels, group = np.array([0] * 12 + [1] * 12), np.arange(24) // 2
    least, most = (binomtest(n, 6).proportion_ci() for n in (6, 0))
    right, wrong = (
        score(one_hot(named)[None], labels, group, ("a", "b"), probabilistic=False)
        for named in (labels, 0 * labels)
    )
    for found in (right["per_class"]["b"]["recall"], right["per_class"]["b"]["precision"]):
        assert (found["low"], found["high"]) == pytest.approx((least.low, 1))
    assert right["accuracy"]["low"] == pytest.approx(binomtest(12, 12).proportion_ci().low)
    assert (right["f1"]["mean"], right["f1"]["low"], right["per_class"]["b"]["f1"]["low"]) == (1, None, None)
    recall = wrong["per_class"]["b"]["recall"]
    assert (recall["low"], recall["high"]) == pytest.approx((0, most.high))
    # Two of three seeds right is no share at its end.
    mixed = score(
        one_hot(np.stack([labels, labels, 0 * labels])), labels, group, ("a", "b"), probabilistic=False
    )
    assert mixed["per_class"]["b"]["recall"]["low"] == pytest.approx(2 / 3)


def test_the_macro_auc_equals_scikit_learns_one_vs_rest_auc():
    generator = np.random.default_rng(3)
    probabilities, labels = generator.dirichlet(np.ones(4), 80), generator.integers(0, 4, 80)
    expected = metrics.roc_auc_score(labels, probabilities, multi_class="ovr")
    assert weighted_measures(probabilities, labels, np.ones((1, 80)))["roc_auc"][0] == pytest.approx(expected)


def test_the_log_loss_of_a_fully_confident_mistake_is_finite():
    measures = weighted_measures(np.array([[1.0, 0.0]]), np.array([1]), np.ones((1, 1)))
    assert measures["log_loss"][0] == pytest.approx(-np.log(np.finfo(float).eps))


def test_the_interval_covers_the_truth_about_as_often_as_it_claims(monkeypatch):
    monkeypatch.setattr(statistics, "REPLICATES", 300)
    covered = 0
    for seed in range(60):
        accuracy = score(*drawn(seed), ("a", "b"), probabilistic=False)["accuracy"]
        assert accuracy["low"] < accuracy["mean"] < accuracy["high"]
        covered += accuracy["low"] <= 0.8 <= accuracy["high"]
    assert 52 <= covered < 60


def test_groups_of_one_image_equal_a_plain_bootstrap():
    probabilities, labels, group = drawn(1)
    found = score(probabilities, labels, group, ("a", "b"), probabilistic=False)["accuracy"]
    spread = np.sqrt(found["mean"] * (1 - found["mean"]) / 200)
    assert width(found) == pytest.approx(2 * 1.96 * spread, rel=0.1)
    renamed = score(probabilities, labels, 7 * group[::-1] - 3, ("a", "b"), probabilistic=False)["accuracy"]
    assert width(renamed) == pytest.approx(width(found), rel=0.1)


def test_a_few_large_groups_widen_the_interval():
    probabilities, labels, group = drawn(1, groups=20)
    grouped = score(probabilities, labels, group, ("a", "b"), probabilistic=False)
    plain = score(probabilities, labels, np.arange(200), ("a", "b"), probabilistic=False)
    assert (grouped["groups"], plain["groups"]) == (20, 200)
    assert grouped["accuracy"]["mean"] == plain["accuracy"]["mean"]
    assert width(grouped["accuracy"]) > 2.5 * width(plain["accuracy"])


def test_mean_deviation_and_confusion_are_over_the_seeds():
    labels = np.array([0, 0, 0, 1])
    named = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]])
    found = score(one_hot(named), labels, np.arange(4), ("a", "b"), probabilistic=False)
    assert found["accuracy"]["mean"] == pytest.approx(0.75)
    assert found["accuracy"]["std"] == pytest.approx(0.25)
    assert found["confusion"] == [[2.0, 1.0], [0.0, 1.0]]
    assert found["per_class"]["a"]["recall"]["mean"] == pytest.approx(2 / 3)
    assert (found["n"], found["seeds"], found["per_class"]["b"]["n"]) == (4, 3, 1)


def test_the_interval_is_of_the_mean_over_the_seeds():
    labels, group = np.zeros(100, dtype=int), np.arange(100)
    first = (np.arange(100) % 2).astype(int)
    found = score(one_hot(np.stack([first, 1 - first])), labels, group, ("a", "b"), probabilistic=False)
    # Each image is right for exactly one of the two seeds, so their mean does not vary.
    assert [found["accuracy"][key] for key in ("mean", "low", "high")] == [0.5, 0.5, 0.5]


def test_undefined_values_are_none_and_all_values_are_json():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), (2, 9)).astype(np.float32)
    found = score(probabilities, np.array([0] * 4 + [1] * 5), np.arange(9), CLASSES)
    nothing = dict.fromkeys(("mean", "std", "low", "high"))
    assert found["per_class"]["notumor"] == {
        "n": 0,
        **dict.fromkeys(("precision", "recall", "f1", "roc_auc"), nothing),
    }
    assert found["roc_auc"]["mean"] is not None
    json.dumps(found, allow_nan=False)
    empty = score(probabilities[:, :0], np.zeros(0, dtype=int), np.zeros(0, dtype=int), CLASSES)
    assert empty["n"] == 0
    assert empty["accuracy"] == empty["log_loss"] == empty["per_class"]["glioma"]["f1"] == nothing
    assert empty["confusion"] == [[0.0] * 4] * 4
    json.dumps(empty, allow_nan=False)


def test_one_seed_has_no_deviation_and_two_groups_no_interval():
    probabilities, labels, group = drawn(0, n=10)
    few = score(probabilities, labels, group % 2, ("a", "b"), probabilistic=False)["accuracy"]
    assert few["mean"] is not None
    assert (few["std"], few["low"], few["high"]) == (None, None, None)


def test_a_classifier_without_probabilities_has_no_measures_of_probabilities():
    found = score(*drawn(0, n=10), ("a", "b"), probabilistic=False)
    assert not {"roc_auc", "log_loss", "calibration_error"} & found.keys()
    assert found["per_class"]["a"].keys() == {"n", "precision", "recall", "f1"}


def test_the_seed_changes_the_interval_and_nothing_else(monkeypatch):
    monkeypatch.setattr(statistics, "REPLICATES", 100)
    first, again = (score(*drawn(0), ("a", "b")) for _ in range(2))
    monkeypatch.setattr(statistics, "SEED", 1)
    other = score(*drawn(0), ("a", "b"))
    assert first == again
    assert first["accuracy"]["mean"] == other["accuracy"]["mean"]
    assert first["accuracy"] != other["accuracy"]


def test_replicates_in_many_blocks_equal_those_in_one(monkeypatch):
    monkeypatch.setattr(statistics, "REPLICATES", 100)
    whole = score(*drawn(0), ("a", "b"))
    monkeypatch.setattr(statistics, "BLOCK", 1400)
    assert score(*drawn(0), ("a", "b")) == whole
