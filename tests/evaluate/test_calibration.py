"""Calibration against truths that are known because the data are drawn from them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_brain.evaluate.calibration import abstention, calibration_error, log_loss, temperature, weights
from tune_brain.evaluate.statistics import score
from tune_brain.portable.probabilities import calibrated


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, 4], and classes drawn from their softmax."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2, size=(n, 4))
    odds = calibrated(logits, 1)
    return logits, (odds.cumsum(1) > generator.random((n, 1))).argmax(1)


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_what_was_done_to_the_logits(true: float) -> None:
    logits, labels = drawn(4000)
    assert temperature(logits * true, labels) == pytest.approx(true, rel=0.1)


def test_calibration_lowers_loss_and_error_and_changes_no_class() -> None:
    logits, labels = drawn(2000)
    sure = logits * 3
    after = calibrated(sure, temperature(sure, labels))
    before = calibrated(sure, 1)
    assert log_loss(after, labels) < log_loss(before, labels)
    assert calibration_error(after, labels) < calibration_error(before, labels) / 3
    assert (after.argmax(1) == before.argmax(1)).all()


def test_a_member_that_knows_nothing_gets_no_weight() -> None:
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
    least = log_loss(np.tensordot(best, members, 1), labels)
    for other in generator.dirichlet(np.ones(3), 200):
        assert log_loss(np.tensordot(other, members, 1), labels) >= least - 1e-6


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**32), st.sampled_from([2, 5, 1000]), st.floats(0, 1))
def test_what_is_sure_enough_is_wrong_at_most_as_often_as_asked(
    n: int, seed: int, steps: int, rate: float
) -> None:
    generator = np.random.default_rng(seed)
    raw = np.ceil(generator.random((n, 3)) * steps)
    probabilities, labels = raw / raw.sum(1, keepdims=True), generator.integers(0, 3, n)
    found = abstention(probabilities, labels, rate)
    inside = probabilities.max(1) >= found["min_confidence"]
    assert found["answered"] == pytest.approx(inside.mean())
    wrong = probabilities.argmax(1) != labels
    if inside.any():
        assert wrong[inside].mean() <= rate + 1e-12
        assert found["errors"] == pytest.approx(wrong[inside].mean())
    lower = [level for level in set(probabilities.max(1)) if level < found["min_confidence"]]
    assert all(wrong[probabilities.max(1) >= level].mean() > rate for level in lower)


def test_the_interval_of_a_calibration_error_is_about_it():
    rng = np.random.default_rng(0)
    # Honest: what is left is noise, which every resampling makes larger.
    sure = rng.uniform(0.5, 1, 80)
    probabilities = np.stack([sure, 1 - sure], axis=1)[None]
    labels = (rng.uniform(size=80) > sure).astype(np.int64)
    found = score(probabilities, labels, np.arange(80), ("a", "b"))["calibration_error"]
    assert 0 <= found["low"] < found["mean"] < found["high"]
    assert found["mean"] - found["low"] > 0.2 * (found["high"] - found["low"])
