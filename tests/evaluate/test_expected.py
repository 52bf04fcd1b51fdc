"""What a chosen configuration is expected to score with other seeds."""

import math
from statistics import fmean

import numpy as np
import pytest

from tune_brain.evaluate.expected import expected
from tune_brain.evaluate.winners import choose, full_scores
from tune_brain.records import TrialRow


def test_it_is_the_posterior_mean_of_the_model() -> None:
    """Against studies drawn from the model, each weighted by how likely it shows what was seen."""
    found = expected({1: (0.80, 0.82), 2: (0.81, 0.83), 3: (0.85, 0.83)}, 3)
    assert found is not None
    assert found.noise == pytest.approx(math.sqrt(2) * 0.01)
    rng, n = np.random.default_rng(0), 400_000
    true = rng.normal(rng.uniform(0.7, 0.95, (n, 1)), rng.uniform(0, 0.12, (n, 1)), (n, 3))
    likely = np.exp(-(((true - [0.81, 0.82, 0.84]) / 0.01) ** 2).sum(axis=1) / 2)
    mean = np.average(true[:, 2], weights=likely)
    deviation = math.sqrt(np.average((true[:, 2] - mean) ** 2, weights=likely))
    assert found.mean == pytest.approx(mean, abs=0.0003)
    assert found.mean < 0.839
    assert (found.high - found.low) / 2 == pytest.approx(3.18245 * deviation, rel=0.03)


def test_a_best_that_noise_explains_is_drawn_to_the_mean_and_one_that_stands_out_is_kept() -> None:
    noise = {0: (0.80, 0.84, 0.82)}
    lucky = expected(
        {**noise, **{n: (score,) for n, score in enumerate((0.80, 0.81, 0.82, 0.83, 0.84), 1)}}, 5
    )
    assert lucky is not None
    assert 0.82 < lucky.mean < 0.83
    better = expected({**noise, 1: (0.40,), 2: (0.95,), 3: (0.60,)}, 2)
    assert better is not None
    assert 0.94 < better.mean < 0.95


def test_without_further_seeds_the_noise_is_unknown() -> None:
    assert expected({0: (0.8,), 1: (0.9,), 2: (0.7,)}, 1) is None
    assert expected({0: (0.8, 0.9), 1: (0.9,)}, 1) is None
    alone = expected({0: (0.8, 0.9, 0.7)}, 0)
    assert alone is not None
    assert alone.mean == pytest.approx(0.8)
    same = expected({0: (0.8, 0.8, 0.8), 1: (0.7,)}, 0)
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
def test_over_many_searches_it_neither_flatters_nor_misses_as_the_plain_score_does() -> None:
    """Twelve configurations, seeds as far apart as they are, the best three trained again twice."""
    rng = np.random.default_rng(0)
    gaps, plain, held = [], [], []
    for _ in range(400):
        true = rng.normal(0.85, 0.015, 12)
        first = true + rng.normal(0, 0.015, 12)
        rows = [row(number, score, 0) for number, score in enumerate(first)]
        best = np.argsort(-first)[:3]
        rows += [row(int(n), true[n] + rng.normal(0, 0.015), r) for n in best for r in (1, 2)]
        chosen = choose(rows, 12)
        assert chosen is not None
        number = chosen.row.configuration
        found = expected(full_scores(rows, 12), number)
        assert found is not None
        gaps.append(found.mean - true[number])
        plain.append(fmean(chosen.scores) - true[number])
        held.append(found.low <= true[number] <= found.high)
    assert np.mean(plain) > 0.006
    assert abs(np.mean(gaps)) < 0.003
    assert np.mean(np.abs(gaps)) < np.mean(np.abs(plain))
    assert np.mean(held) > 0.93
