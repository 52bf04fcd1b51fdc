"""A surrogate of a study: a plausible score for any configuration, with the noise of real trials.

A score is a smooth mean over the space (a Gaussian process for each length), plus the deviation of a nearby
configuration of the table from that mean, plus seed noise. The deviation is shrunk to the part that seed
noise does not explain, and comes from the same neighbour at all lengths: a configuration that is better than
its position suggests is better on every rung.
"""

import math
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from tune_brain.array_types import Floats
from tune_brain.search.outcomes import Outcomes, place
from tune_brain.seeds import derive

NEIGHBOURS = 3
"""The deviation comes from one of so many nearest configurations, drawn by inverse distance."""


class _Spot(NamedTuple):
    """A position in the space, its nearest configurations of the table, and their distances."""

    at: Floats
    near: NDArray[np.intp]
    distance: Floats


class Surrogate:
    """Scores for any configuration of a space, learned from a table; pure functions of values and seed."""

    def __init__(self, outcomes: Outcomes) -> None:
        self.outcomes = outcomes
        self._means = _complete(outcomes)
        self._smooth = {length: _fit(outcomes.places, mean) for length, mean in self._means.items()}
        self._deviations = {
            length: mean - self._smooth[length].predict(outcomes.places)
            for length, mean in self._means.items()
        }
        self._noise = {length: _residuals(scores) for length, scores in outcomes.scores.items()}
        for length in self._deviations:
            self._deviations[length] *= self._reliability(length)

    @property
    def noise(self) -> float:
        """Standard deviation of full-length scores between seeds; NaN without a second seed."""
        return self._deviation_of_seeds(self.outcomes.full_length)

    @property
    def best(self) -> float:
        """The best of `truth`."""
        return float(np.max(self.truth))

    @property
    def truth(self) -> Floats:
        """[n], estimated mean full-length scores over seeds of the table's configurations."""
        full = self.outcomes.full_length
        return np.asarray(self._smooth[full].predict(self.outcomes.places) + self._deviations[full])

    def _deviation_of_seeds(self, length: int) -> float:
        residuals = self._noise[length]
        return float(np.sqrt(np.nanmean(residuals**2))) if np.isfinite(residuals).any() else math.nan

    def _reliability(self, length: int) -> float:
        """The factor that shrinks the deviations to the variance that seed noise does not explain."""
        deviations, noise = self._deviations[length], self._deviation_of_seeds(length)
        if math.isnan(noise) or not deviations.any():
            return 1.0
        seeds = np.maximum(np.isfinite(self.outcomes.scores[length]).sum(axis=1), 1)
        # The smooth mean has absorbed part of the noise, which is therefore not in the deviations.
        of_mean = np.mean(noise**2 / seeds) * _remaining_noise(self._smooth[length], self.outcomes.places)
        return float(np.sqrt(max(0.0, 1 - of_mean / np.mean(deviations**2))))

    def true(self, values: Mapping[str, float], seed: int) -> float:
        """The mean full-length score over seeds of a configuration."""
        return self._level(values, self._spot(values), self.outcomes.full_length, seed)

    def score(self, values: Mapping[str, float], length: int, repeat: int, seed: int) -> float:
        """The score of one trial, 0 if it diverges.

        Args:
            values: of the tuned hyperparameters.
            length: epochs, one of the table's.
            repeat: which seed of the configuration, from 0.
            seed: of the replay; it decides neighbours and noise.
        """
        spot = self._spot(values)
        level = self._level(values, spot, length, seed)
        rng = self._luck(values, length, repeat, seed)
        sign = rng.choice((-1, 1))
        if (noise := self._residual(spot, length, rng)) is not None:
            return float(np.clip(level + sign * noise, 0, 1)) if level > 0 else 0.0
        # With one seed in the table, the deviation already includes that seed's noise.
        if not repeat or length == self.outcomes.full_length:
            return level
        # A further seed of the configuration has another deviation: any of the table's.
        deviation = rng.choice(self._deviations[length])
        return float(np.clip(self._smooth[length].predict(spot.at[None])[0] + deviation, 0, 1))

    def _luck(self, values: Mapping[str, float], length: int, repeat: int, seed: int) -> np.random.Generator:
        return np.random.default_rng(derive(seed, "noise", length, repeat, *map(str, values.values())))

    def _residual(self, spot: _Spot, length: int, rng: np.random.Generator) -> float | None:
        """Seed noise from the nearest configurations with two seeds, else from all; None if none has two."""
        residuals = self._noise[length]
        for among in (residuals[spot.near], residuals):
            if len(known := among[np.isfinite(among)]):
                return float(rng.choice(known))
        return None

    def _level(self, values: Mapping[str, float], spot: _Spot, length: int, seed: int) -> float:
        rng = np.random.default_rng(derive(seed, "neighbour", *map(str, values.values())))
        weight = 1 / np.maximum(spot.distance, 1e-9)
        donor = spot.near[rng.choice(len(spot.near), p=weight / weight.sum())]
        if self._means[length][donor] == 0:
            return 0.0
        smooth = self._smooth[length].predict(spot.at[None])[0]
        return float(np.clip(smooth + self._deviations[length][donor], 0, 1))

    def _spot(self, values: Mapping[str, float]) -> _Spot:
        at = place(self.outcomes.space, values)
        distances = np.linalg.norm(self.outcomes.places - at, axis=1)
        near = np.argsort(distances, kind="stable")[:NEIGHBOURS]
        return _Spot(at, near, distances[near])


def rank_errors(outcomes: Outcomes) -> dict[int, float]:
    """By length, the leave-one-out Spearman correlation between real scores and the smooth mean."""
    errors = {}
    for length, mean in ((length, _nanmean(scores)) for length, scores in outcomes.scores.items()):
        known = np.flatnonzero(np.isfinite(mean))
        if len(known) < 4:
            continue
        kernel = _fit(outcomes.places[known], mean[known]).kernel_
        predicted = []
        for left in known:
            others = known[known != left]
            predicted.append(
                _fit(outcomes.places[others], mean[others], kernel).predict(outcomes.places[[left]])[0]
            )
        errors[length] = float(spearmanr(mean[known], predicted).statistic)
    return errors


def _fit(places: Floats, scores: Floats, kernel: object = None) -> GaussianProcessRegressor:
    """A Gaussian process through the scores, with a given kernel or a fitted one (second term: noise)."""
    start = ConstantKernel(1.0) * RBF([0.3] * places.shape[1], (0.05, 10.0)) + WhiteKernel(0.1, (1e-3, 1.0))
    model = GaussianProcessRegressor(
        kernel or start, optimizer=None if kernel else "fmin_l_bfgs_b", normalize_y=True, random_state=0
    )
    with warnings.catch_warnings():
        # A length scale at its bound is fine: the score does not depend on that hyperparameter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(places, scores)


def _remaining_noise(model: GaussianProcessRegressor, places: Floats) -> float:
    """The share of the scores' noise that a Gaussian process through them leaves in its residuals."""
    noise = model.kernel_.k2.noise_level * np.linalg.inv(model.kernel_(places))
    return float(np.sum(noise**2) / len(places))


def _complete(outcomes: Outcomes) -> dict[int, Floats]:
    """Mean scores by length, [n], imputed where a configuration was not trained at that length.

    The imputed score is that of the nearest length, shifted by the median change of the configurations that
    have both lengths.
    """
    means = {length: _nanmean(scores) for length, scores in outcomes.scores.items()}
    complete = {}
    for length, mean in means.items():
        filled = mean.copy()
        for other in sorted(means, key=lambda other: abs(math.log(other / length))):
            both = np.isfinite(mean) & np.isfinite(means[other])
            change = np.median(mean[both] - means[other][both]) if both.any() else 0.0
            # What diverged in shorter trials diverges in longer ones too.
            diverged = (means[other] == 0) & (other < length)
            imputed = np.where(diverged, 0, np.clip(means[other] + change, 0, 1))
            filled = np.where(np.isfinite(filled), filled, imputed)
        complete[length] = filled
    return complete


def _nanmean(scores: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(scores, axis=1))


def _residuals(scores: Floats) -> Floats:
    """Deviations of seeds from their configuration's mean, [n, seeds], scaled to the variance of one seed.

    NaN where a configuration has fewer than two seeds.
    """
    seeds = np.isfinite(scores).sum(axis=1, keepdims=True)
    of_one = np.sqrt(seeds / np.maximum(seeds - 1, 1))
    return np.asarray(np.where(seeds > 1, (scores - _nanmean(scores)[:, None]) * of_one, np.nan))
