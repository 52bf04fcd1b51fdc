"""Altered tables of outcomes, for searches that tune other parameters, cut a cycle or rank by loss."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.records import EpochRow, read, trials_of
from tune_brain.search.outcomes import Outcomes, place
from tune_brain.search.surrogate import Surrogate
from tune_brain.space import Space


class Reparameterised(Surrogate):
    """The same outcomes for a search that tunes another quantity in place of a hyperparameter.

    Args:
        original: the surrogate of the table.
        name: the hyperparameter, under whose name the other quantity is tuned.
        factor: returns, from the values of the other hyperparameters, the factor by which the hyperparameter
            is multiplied to give the tuned quantity.
        middle: a typical factor, which scales the range.
    """

    def __init__(
        self, original: Surrogate, name: str, factor: Callable[[Mapping[str, float]], float], middle: float
    ) -> None:
        vars(self).update(vars(original))
        self._original, self._name, self._factor = original, name, factor
        space = original.outcomes.space
        self._range = space.tuned[name]
        limits = {"low": self._range.low * middle, "high": self._range.high * middle, "log": True}
        fields = space.model_dump()
        fields["tuned"][name] = limits
        tuned = factor(space.baseline) * space.baseline[name]
        fields["baseline"][name] = min(max(tuned, limits["low"]), limits["high"])
        self.outcomes = dataclasses.replace(original.outcomes, space=Space.model_validate(fields))

    def _spot(self, values: Mapping[str, float]) -> Any:
        value = values[self._name] / self._factor(values)
        value = min(max(value, self._range.low), self._range.high)
        return self._original._spot({**values, self._name: value})


def by_product(surrogate: Surrogate) -> Surrogate:
    """The surrogate for a search that tunes max_lr x weight_decay instead of weight_decay."""
    rate = surrogate.outcomes.space.tuned["max_lr"]
    middle = math.sqrt(rate.low * rate.high)
    return Reparameterised(surrogate, "weight_decay", lambda values: values["max_lr"], middle)


def by_share(surrogate: Surrogate, norms: Sequence[float]) -> Surrogate:
    """The surrogate for a search that tunes grad_clip as a share of the gradient's typical norm.

    Args:
        surrogate: the surrogate of the table.
        norms: typical gradient norm of each configuration of the table. Any other configuration gets the
            norm of the one with the nearest max_lr and weight_decay.
    """
    places, space = surrogate.outcomes.places, surrogate.outcomes.space
    axes = [number for number, name in enumerate(space.tuned) if name != "grad_clip"]

    def factor(values: Mapping[str, float]) -> float:
        at = place(space, {"grad_clip": space.baseline["grad_clip"], **values})
        return 1 / norms[int(np.argmin(np.linalg.norm((places - at)[:, axes], axis=1)))]

    return Reparameterised(surrogate, "grad_clip", factor, 1 / float(np.median(norms)))


def cuts(outcomes: Outcomes) -> Outcomes:
    """Outcomes whose lengths are the epochs of the full cycle, scored by the curves of full-length trials."""
    epochs = outcomes.curves.shape[2]
    scores = {epoch: outcomes.curves[:, :, epoch - 1] for epoch in range(1, epochs)}
    return dataclasses.replace(outcomes, scores={**scores, epochs: outcomes.scores[epochs]})


def of_epochs(
    folders: Sequence[Path], space: Space, statistic: Callable[[list[EpochRow]], float]
) -> dict[int, dict[tuple[float, ...], list[float]]]:
    """A statistic of the epoch rows of each scored trial, by length and by position in the space.

    Args:
        folders: the runs of a table.
        space: their space.
        statistic: computes a number from a trial's epoch rows.

    Returns:
        By length in epochs, then by position of the configuration: one value per trial, in trial order.
    """
    statistics: dict[int, dict[tuple[float, ...], list[float]]] = {}
    for folder in folders:
        epochs: dict[int, list[EpochRow]] = {}
        for epoch in read(folder / "epochs.jsonl", EpochRow):
            epochs.setdefault(epoch.trial, []).append(epoch)
        for row in trials_of(folder):
            if row.score is not None:
                of_length = statistics.setdefault(row.epochs, {})
                values = of_length.setdefault(tuple(place(space, row.values)), [])
                values.append(statistic(epochs[row.trial]))
    return statistics


def by_loss(outcomes: Outcomes, folders: Sequence[Path]) -> Outcomes:
    """Outcomes for a search that promotes by validation loss: shorter trials score 1 / (1 + loss)."""
    losses = of_epochs(folders, outcomes.space, lambda rows: 1 / (1 + rows[-1].val_loss))
    full = outcomes.full_length
    shorter = {
        length: filled(outcomes, length, losses[length]) for length in outcomes.scores if length != full
    }
    return dataclasses.replace(outcomes, scores={**shorter, full: outcomes.scores[full]})


def first_by_loss(outcomes: Outcomes, folders: Sequence[Path]) -> Outcomes:
    """Outcomes for a search that promotes by validation loss after the first epoch of the full cycle."""
    losses = of_epochs(folders, outcomes.space, lambda rows: 1 / (1 + rows[0].val_loss))
    full = outcomes.full_length
    scores = {1: filled(outcomes, full, losses[full]), full: outcomes.scores[full]}
    return dataclasses.replace(outcomes, scores=scores)


def filled(
    outcomes: Outcomes, length: int, values: Mapping[tuple[float, ...], Sequence[float]]
) -> NDArray[np.float64]:
    """A table [n, seeds] of the values of each configuration's trials; 0 for trials that diverged.

    Args:
        outcomes: the outcomes whose trials of this length the table mirrors.
        length: in epochs.
        values: by position in the space, one value per trial.
    """
    table = np.where(np.isfinite(outcomes.scores[length]), 0.0, np.nan)
    for line, at in zip(table, outcomes.places, strict=True):
        of_one = values.get(tuple(at), [])[: len(line)]
        line[: len(of_one)] = of_one
    return table


def norms(folders: Sequence[Path], outcomes: Outcomes) -> list[float]:
    """The median gradient norm before clipping of each configuration at full length.

    Configurations without such a trial get the median over the others.
    """
    by_length = of_epochs(folders, outcomes.space, lambda rows: median(row.grad_norm for row in rows))
    by_position = {at: of_trials[0] for at, of_trials in by_length[outcomes.full_length].items()}
    typical = median(by_position.values())
    return [by_position.get(tuple(at), typical) for at in outcomes.places]
