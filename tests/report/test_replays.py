"""Results of replayed searches: summary and anytime curves."""

from typing import Any

import numpy as np
import pytest

from tune_brain.report.replays import anytime, reached, summary


def repeat(epochs: list[int], true: list[float], chosen: float) -> dict[str, Any]:
    seconds = [10.0 * one for one in epochs]
    end = {"chosen": chosen, "expected": chosen - 0.05, "realised": true[-1], "baseline": 0.5}
    return {"epochs": epochs, "seconds": seconds, "true": true, **end}


YARDSTICK = {"name": "random", "repeats": [repeat([12, 96], [0.6, 0.7], 0.8)] * 10}
OTHER = {
    "name": "tpe",
    "repeats": [repeat([12, 24, 48], [0.4, 0.8, 0.8], 0.9)] * 9
    + [repeat([12, 24, 48], [0.7, 0.4, 0.4], 0.4)],
}


def test_a_score_is_reached_once_the_choice_stays_at_or_above_it() -> None:
    one = repeat([3, 6, 9, 12], [0.7, 0.5, 0.8, 0.8], 0.8)
    assert [reached(one, target) for target in (0.5, 0.6, 0.8)] == [3, 9, 9]
    assert reached(one, 0.9) == np.inf


def test_the_summary_has_scores_epochs_and_optimism() -> None:
    lines = summary({"best": 0.9, "noise": 0.01, "variants": [YARDSTICK, OTHER]}).set_index("way")
    assert lines.loc["random", ["epochs", "score", "saving"]].tolist() == pytest.approx([96, 0.7, 1.0])
    tpe = lines.loc["tpe"]
    assert tpe["score"] == pytest.approx(0.76)
    assert tpe["regret"] == pytest.approx(0.14)
    assert tpe["gap"] == pytest.approx(0.09)
    # Nine promise .05 more than .8, one .05 less than .4.
    assert tpe["shrunken"] == pytest.approx(0.05)
    assert tpe["worse"] == pytest.approx(0.1)
    assert tpe["reached"] == pytest.approx(0.9)
    assert np.isnan(tpe["saving"])
    always = {**OTHER, "repeats": OTHER["repeats"][:9]}
    study = {"best": 0.9, "noise": None, "variants": [YARDSTICK, always]}
    assert summary(study)["saving"][1] == pytest.approx(96 / 24)
    # One seed's score is all that is known of the truth, and so promises nothing beyond it.
    assert summary(study)[["gap", "error", "shrunken"]].isna().all(axis=None)


def test_an_anytime_curve_is_a_step_function() -> None:
    curve = anytime(OTHER, "epochs")
    assert curve["median"].iloc[0] == pytest.approx(0.4)
    assert set(np.round(curve["median"][curve["epochs"] > 24.01], 3)) == {0.8}
    assert (curve["low"] <= curve["median"]).all()
