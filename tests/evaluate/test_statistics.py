"""Measures against scikit-learn, intervals against known truths, tests against worked cases."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics

from tune_brain.evaluate.statistics import CALIBRATION_BINS as BINS
from tune_brain.evaluate.statistics import difference, holm, mcnemar, score, weighted_measures

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


@st.composite
def cases(draw):
    """Probabilities full of ties, labels that need not name every class, and whole-number weights."""
    size, n = draw(st.integers(2, 4)), draw(st.integers(2, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    raw = generator.integers(1, draw(st.sampled_from([3, 50])), (n, size)).astype(float)
    labels = generator.integers(0, draw(st.integers(1, size)), n)
    weights = generator.integers(0, 4, n).astype(float)
    weights[generator.integers(n)] += 1
    return raw / raw.sum(1, keepdims=True), labels, weights


@settings(deadline=None)
@given(cases())
def test_measures_of_named_classes_equal_those_of_scikit_learn(case):
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
        warnings.simplefilter("ignore")  # scikit-learn warns when a class is named that has no images
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
def test_calibration_error_is_the_weighted_gap_of_each_bin(case):
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
def test_a_weight_counts_an_image_so_many_times(case):
    probabilities, labels, weights = case
    times = weights.astype(int)
    repeated = probabilities.repeat(times, axis=0), labels.repeat(times), np.ones((1, times.sum()))
    weighed = weighted_measures(probabilities, labels, np.stack([weights, np.ones(len(labels))]))
    for name, value in weighted_measures(*repeated).items():
        assert weighed[name][0] == pytest.approx(value[0], nan_ok=True)


def test_macro_auc_is_the_one_vs_rest_auc_of_scikit_learn():
    generator = np.random.default_rng(3)
    probabilities, labels = generator.dirichlet(np.ones(4), 80), generator.integers(0, 4, 80)
    expected = metrics.roc_auc_score(labels, probabilities, multi_class="ovr")
    assert weighted_measures(probabilities, labels, np.ones((1, 80)))["roc_auc"][0] == pytest.approx(expected)


def test_log_loss_of_a_certain_mistake_is_finite():
    measures = weighted_measures(np.array([[1.0, 0.0]]), np.array([1]), np.ones((1, 1)))
    assert measures["log_loss"][0] == pytest.approx(-np.log(np.finfo(float).eps))


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


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(60):
        accuracy = score(*drawn(seed), ("a", "b"), probabilistic=False, replicates=300, seed=seed)["accuracy"]
        assert accuracy["low"] < accuracy["mean"] < accuracy["high"]
        covered += accuracy["low"] <= 0.8 <= accuracy["high"]
    assert 52 <= covered < 60


def test_groups_of_one_image_give_the_plain_bootstrap():
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


def test_mean_std_and_confusion_run_over_the_seeds():
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
    # every image is right with just one of the two seeds, so that their mean does not vary
    assert [found["accuracy"][key] for key in ("mean", "low", "high")] == [0.5, 0.5, 0.5]


def test_what_is_undefined_is_none_and_all_of_it_is_json():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), (2, 9)).astype(np.float32)
    found = score(probabilities, np.array([0] * 4 + [1] * 5), np.arange(9), CLASSES, replicates=50)
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


def test_one_seed_has_no_spread_and_one_group_no_interval():
    probabilities, labels, group = drawn(0, n=10)
    one = score(probabilities, labels, np.zeros_like(group), ("a", "b"), probabilistic=False)["accuracy"]
    assert one["mean"] is not None
    assert (one["std"], one["low"], one["high"]) == (None, None, None)


def test_a_classifier_without_probabilities_has_no_measure_of_them():
    found = score(*drawn(0, n=10), ("a", "b"), probabilistic=False)
    assert not {"roc_auc", "log_loss", "calibration_error"} & found.keys()
    assert found["per_class"]["a"].keys() == {"n", "precision", "recall", "f1"}


def test_the_seed_decides_the_interval_and_nothing_else():
    first, again, other = (score(*drawn(0), ("a", "b"), replicates=100, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["accuracy"]["mean"] == other["accuracy"]["mean"]
    assert first["accuracy"] != other["accuracy"]


def test_replicates_in_many_blocks_are_those_in_one(monkeypatch):
    whole = score(*drawn(0), ("a", "b"), replicates=100)
    monkeypatch.setattr("tune_brain.evaluate.statistics.BLOCK", 1400)
    assert score(*drawn(0), ("a", "b"), replicates=100) == whole


def flags(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors of right answers: so many right in both, the first, the second, neither."""
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
def test_mcnemar_by_hand(counts, p):
    found = mcnemar(*flags(*counts))
    assert (found["only_a"], found["only_b"]) == counts[1:3]
    assert found["p"] == pytest.approx(p)


@settings(deadline=None)
@given(*[st.integers(0, 60)] * 4)
def test_mcnemar_is_the_binomial_test_of_the_disagreements(both, only_a, only_b, neither):
    a, b = flags(both, only_a, only_b, neither)
    expected = binomtest(only_b, only_a + only_b, 0.5).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b)["p"] == pytest.approx(expected)
    assert mcnemar(b, a)["p"] == pytest.approx(mcnemar(a, b)["p"])


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
def test_holm_by_hand(p, corrected):
    assert holm(p) == pytest.approx(corrected)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(p):
    corrected = holm(p)
    for raw, value in zip(p, corrected, strict=True):
        assert raw <= value <= min(1, len(p) * raw)
    order = np.argsort(p, kind="stable")
    assert list(np.array(corrected)[order]) == sorted(corrected)


def test_a_difference_is_that_of_the_macro_f1_scores():
    (a, labels, group), (b, _, _) = drawn(0), drawn(1, accuracy=0.6)
    scores = [score(one, labels, group, ("a", "b"), replicates=2)["f1"]["mean"] for one in (a, b)]
    gap = difference(a, b, labels, group)
    assert gap["mean"] == pytest.approx(scores[0] - scores[1])
    assert gap["low"] < gap["mean"] < gap["high"]
    back = difference(b, a, labels, group)
    assert [back["mean"], back["low"], back["high"]] == pytest.approx(
        [-gap["mean"], -gap["high"], -gap["low"]]
    )


def test_a_difference_is_paired():
    probabilities, labels, group = drawn(0)
    same = difference(probabilities, np.concatenate([probabilities] * 3), labels, group)
    assert same == pytest.approx({"mean": 0.0, "low": 0.0, "high": 0.0})


def test_a_difference_on_one_group_has_no_interval_and_on_nothing_no_mean():
    probabilities, labels, group = drawn(0, n=10)
    one = difference(probabilities, probabilities, labels, np.zeros_like(group))
    assert one == {"mean": 0.0, "low": None, "high": None}
    nothing = difference(probabilities[:, :0], probabilities[:, :0], labels[:0], group[:0])
    assert nothing == {"mean": None, "low": None, "high": None}
