"""Calibration on data drawn from known distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from tune_brain.evaluate import calibration
from tune_brain.evaluate.calibration import LEAST_CONFIDENCE, abstention, temperature, weights
from tune_brain.evaluate.statistics import score, weighted_measures
from tune_brain.portable.probabilities import calibrated

KNOWN = np.zeros(400, bool)
"""Of 400 images none is rejected as out-of-distribution."""


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, 4], and classes drawn from their softmax."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2, size=(n, 4))
    odds = calibrated(logits, 1)
    return logits, (odds.cumsum(1) > generator.random((n, 1))).argmax(1)


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_recovers_the_scale_of_the_logits(true: float) -> None:
    logits, labels = drawn(4000)
    assert temperature(logits * true, labels) == pytest.approx(true, rel=0.1)


def test_without_errors_on_validation_no_temperature_makes_a_network_more_confident() -> None:
    """Every smaller temperature lowers the loss there, so the least one allowed would be chosen."""
    logits, _ = drawn(200)
    right = logits.argmax(1)
    assert temperature(logits, right) == pytest.approx(1, abs=1e-3)
    # With a single error there is an optimum, also below 1.
    one_wrong = np.where(np.arange(200) == logits.max(1).argmin(), logits.argmin(1), right)
    assert 0.06 < temperature(logits, one_wrong) < 0.95


def test_a_network_that_is_wrong_beyond_all_doubt_gets_a_high_temperature() -> None:
    """Its probabilities are rounded to 0 and 1 at all temperatures but the highest."""
    labels = np.arange(100) % 2
    logits = 1e4 * np.eye(2)[np.where(np.arange(100) < 40, 1 - labels, labels)]
    assert temperature(logits, labels) == pytest.approx(20, rel=0.01)


def test_calibration_lowers_loss_and_error_and_changes_no_predicted_class() -> None:
    logits, labels = drawn(2000)
    overconfident = logits * 3
    after = calibrated(overconfident, temperature(overconfident, labels))
    before = calibrated(overconfident, 1)
    assert log_loss(labels, after) < log_loss(labels, before)
    error_after, error_before = (
        weighted_measures(of, labels, np.ones((1, 2000)))["calibration_error"][0] for of in (after, before)
    )
    assert error_after < error_before / 3
    assert (after.argmax(1) == before.argmax(1)).all()


def test_a_member_of_pure_noise_gets_no_weight() -> None:
    logits, labels = drawn(2000)
    noise = calibrated(np.random.default_rng(1).normal(size=logits.shape), 1)
    shares = weights(np.stack([noise, calibrated(logits, 1)]), labels)
    assert shares.sum() == pytest.approx(1)
    assert shares[0] < 0.02


def test_no_other_weights_give_less_loss() -> None:
    logits, labels = drawn(500)
    generator = np.random.default_rng(2)
    members = np.stack([calibrated(logits + generator.normal(size=logits.shape), 1) for _ in range(3)])
    best = weights(members, labels)
    least = log_loss(labels, np.tensordot(best, members, 1))
    for other in generator.dirichlet(np.ones(3), 200):
        assert log_loss(labels, np.tensordot(other, members, 1)) >= least - 1e-6


@settings(deadline=None)
@given(
    st.integers(1, 60),
    st.integers(0, 2**32),
    st.sampled_from([2, 5, 1000]),
    st.floats(0, 1),
    st.sampled_from([1, 20]),
)
def test_confident_answers_are_wrong_at_most_as_often_as_allowed(
    n: int, seed: int, steps: int, rate: float, fewest: int
) -> None:
    generator = np.random.default_rng(seed)
    raw = np.ceil(generator.random((n, 3)) * steps)
    probabilities, labels = raw / raw.sum(1, keepdims=True), generator.integers(0, 3, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "FEWEST_ANSWERS", fewest)
        patch.setattr(calibration, "ERROR_RATE", rate)
        found = abstention(probabilities, labels, np.zeros(n, bool))
    confidence = probabilities.max(1)
    inside = confidence >= found["min_confidence"]
    assert found["answered"] == pytest.approx(inside.mean())
    wrong = probabilities.argmax(1) != labels
    if inside.any():
        assert inside.sum() >= fewest
        assert wrong[inside].mean() <= rate + 1e-12
        assert found["errors"] == pytest.approx(wrong[inside].mean())
    assert found["min_confidence"] >= LEAST_CONFIDENCE
    lower = [level for level in set(confidence) if LEAST_CONFIDENCE <= level < found["min_confidence"]]
    for level in lower:
        answered = confidence >= level
        assert wrong[answered].mean() > rate or answered.sum() < fewest


def test_a_few_right_answers_are_no_evidence_of_a_low_error_rate() -> None:
    probabilities, labels = np.array([[0.9, 0.1]] * 49), np.zeros(49, np.int64)
    assert abstention(probabilities, labels, KNOWN[:49])["min_confidence"] > 1
    one_more = abstention(np.append(probabilities, [[0.9, 0.1]], axis=0), np.zeros(50, np.int64), KNOWN[:50])
    assert (one_more["min_confidence"], one_more["answered"]) == (0.9, 1.0)


def test_rejected_images_are_not_answered_and_are_no_evidence() -> None:
    """Of 60 images 10 are rejected, all of them wrong and more confident than the others."""
    probabilities = np.array([[0.9, 0.1]] * 50 + [[0.95, 0.05]] * 10)
    labels, foreign = np.array([0] * 50 + [1] * 10), np.arange(60) >= 50
    found = abstention(probabilities, labels, foreign)
    assert (found["min_confidence"], found["errors"], found["n"]) == (0.9, 0, 60)
    assert found["answered"] == pytest.approx(50 / 60)
    one_less = abstention(probabilities, np.zeros(60, np.int64), np.arange(60) >= 49)
    assert (one_less["min_confidence"], one_less["answered"], one_less["errors"]) == (2, 0, None)


def test_a_model_with_few_errors_abstains_where_it_thinks_itself_more_likely_wrong_than_right() -> None:
    """Of 400 images 5 are wrong, within the error rate, but they are 5 of the 6 least confident."""
    sure, unsure = [0.96, 0.02, 0.02], [0.36, 0.32, 0.32]
    probabilities = np.array([sure] * 394 + [unsure] * 6)
    labels = np.array([0] * 395 + [1] * 5)
    found = abstention(probabilities, labels, KNOWN)
    assert found["min_confidence"] == 0.96
    assert (found["answered"], found["errors"], found["n"]) == (394 / 400, 0, 400)
    # A confidence of exactly one half may still answer.
    half = abstention(np.array([[0.5, 0.25, 0.25]] * 50), np.zeros(50, np.int64), KNOWN[:50])
    assert (half["min_confidence"], half["answered"]) == (0.5, 1.0)


def test_the_interval_of_a_calibration_error_is_around_it():
    rng = np.random.default_rng(0)
    # Perfectly calibrated: the error is noise alone, which resampling inflates.
    confidence = rng.uniform(0.5, 1, 80)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)[None]
    labels = (rng.uniform(size=80) > confidence).astype(np.int64)
    found = score(probabilities, labels, np.arange(80), ("a", "b"))["calibration_error"]
    assert 0 <= found["low"] < found["mean"] < found["high"]
    assert found["mean"] - found["low"] > 0.2 * (found["high"] - found["low"])
