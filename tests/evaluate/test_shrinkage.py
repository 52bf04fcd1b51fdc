"""Shrunken scores: what a chosen configuration is expected to score with other seeds."""

import math
from statistics import fmean

import numpy as np
import pytest

from tune_brain.evaluate.shrinkage import shrunken_score
from tune_brain.evaluate.winners import choose, full_scores
from tune_brain.records import TrialRow


def test_a_shrunken_score_is_the_posterior_of_the_model() -> None:
    """Against studies drawn from the model's prior, each weighted by the likelihood of the scores."""
    scores = {1: (0.80, 0.82), 2: (0.81, 0.83), 3: (0.85, 0.83)}
    found = shrunken_score(scores, 3)
    assert found is not None
    pooled, n = math.sqrt(0.0006 / 3), 500_000
    rng = np.random.default_rng(0)
    noise = pooled * np.exp(rng.uniform(math.log(1 / 8), math.log(4), n))
    spread = rng.uniform(0, 3 * (0.03 + pooled), (n, 1))
    true = rng.normal(rng.uniform(0.7, 0.95, (n, 1)), spread, (n, 3))
    away = [(score - true[:, place]) ** 2 for place, of in enumerate(scores.values()) for score in of]
    likely = np.exp(-sum(away) / noise**2 / 2) / noise ** len(away)
    likely /= likely.sum()
    assert found.mean == pytest.approx(likely @ true[:, 2], abs=0.001)
    assert found.mean < 0.837
    assert found.noise == pytest.approx(likely @ noise, rel=0.03)
    order = np.argsort(true[:, 2])
    ends = np.interp((0.025, 0.975), np.cumsum(likely[order]), true[order, 2])
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=0.003)


def test_a_best_within_the_noise_is_shrunk_and_one_that_stands_out_is_not() -> None:
    noise = {0: (0.80, 0.84, 0.82)}
    lucky = shrunken_score(
        {**noise, **{n: (score,) for n, score in enumerate((0.80, 0.81, 0.82, 0.83, 0.84), 1)}}, 5
    )
    assert lucky is not None
    assert 0.82 < lucky.mean < 0.83
    better = shrunken_score({**noise, 1: (0.40,), 2: (0.95,), 3: (0.60,)}, 2)
    assert better is not None
    assert 0.94 < better.mean < 0.95


def test_without_extra_seeds_the_noise_is_unknown_and_few_configurations_are_not_shrunk() -> None:
    assert shrunken_score({0: (0.8,), 1: (0.9,), 2: (0.7,)}, 1) is None
    assert shrunken_score({0: (0.8, 0.9), 1: (0.9,)}, 1) is None
    alone = shrunken_score({0: (0.8, 0.9, 0.7)}, 0)
    assert alone is not None
    assert alone.mean == pytest.approx(0.8)
    assert alone.high == 1, "a score is a share"
    for scores in ({0: (0.1, 0.0, 0.2)}, {0: (0.0, 0.3, 0.0), 1: (0.0, 0.4), 2: (0.01,)}):
        poor = shrunken_score(scores, 0)
        good = shrunken_score({number: tuple(1 - one for one in of) for number, of in scores.items()}, 0)
        assert poor is not None
        assert good is not None
        assert (poor.low, good.high) == (0, 1)
    same = shrunken_score({0: (0.8, 0.8, 0.8), 1: (0.7,)}, 0)
    assert same is not None
    assert (same.low, same.mean, same.high) == pytest.approx((0.8, 0.8, 0.8))


def row(configuration: int, score: float, repeat: int) -> TrialRow:
    given = {"arch": "cnn", "epochs": 12, "values": {}, "seed": 0, "state": "completed", "why": "finished"}
    return TrialRow(
        trial=10 * configuration + repeat,
        configuration=configuration,
        score=score,
        repeat=repeat,
        started=0.0,
        **given,
    )


@pytest.mark.slow
def test_over_many_searches_shrunken_scores_are_unbiased_where_plain_means_flatter() -> None:
    """25 configurations, with as much noise between seeds; the best three are trained once more."""
    rng = np.random.default_rng(0)
    gaps, plain, held, noise, pooled = [], [], [], [], []
    for _ in range(300):
        true = rng.normal(0.85, 0.015, 25)
        first = true + rng.normal(0, 0.015, 25)
        rows = [row(number, score, 0) for number, score in enumerate(first)]
        best = np.argsort(-first)[:3]
        rows += [row(int(n), true[n] + rng.normal(0, 0.015), 1) for n in best]
        chosen = choose(rows, 12)
        assert chosen is not None
        number = chosen.row.configuration
        found = shrunken_score(full_scores(rows, 12), number)
        assert found is not None
        gaps.append(found.mean - true[number])
        plain.append(fmean(chosen.scores) - true[number])
        noise.append(found.noise)
        falls = [first[n] - rows[25 + place].score for place, n in enumerate(best)]
        pooled.append(math.sqrt(np.mean(np.square(falls)) / 2))
        held.append(found.low <= true[number] <= found.high)
    assert np.mean(plain) > 0.006
    assert abs(np.mean(gaps)) < 0.003
    assert np.mean(np.abs(gaps)) < np.mean(np.abs(plain))
    assert np.mean(held) > 0.93
    # The finalists' drop from a lucky first score alone would overestimate the noise.
    assert np.mean(pooled) > 0.016
    assert np.mean(noise) == pytest.approx(0.015, rel=0.07)
