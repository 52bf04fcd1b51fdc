"""Tables of outcomes as other searches would see them: that tune other things, cut a cycle, rank by loss."""

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


class Elsewise(Surrogate):
    """The same outcomes for a search that tunes something else under the name of a hyperparameter.

    Args:
        own: of the table.
        name: the hyperparameter's.
        factor: by which the hyperparameter is multiplied to get what is tuned, from the others' values.
        middle: a usual factor, for the range.
    """

    def __init__(
        self, own: Surrogate, name: str, factor: Callable[[Mapping[str, float]], float], middle: float
    ) -> None:
        vars(self).update(vars(own))
        self._own, self._name, self._factor = own, name, factor
        space = own.outcomes.space
        self._range = space.tuned[name]
        limits = {"low": self._range.low * middle, "high": self._range.high * middle, "log": True}
        known = space.model_dump()
        known["tuned"][name] = limits
        tuned = factor(space.baseline) * space.baseline[name]
        known["baseline"][name] = min(max(tuned, limits["low"]), limits["high"])
        self.outcomes = dataclasses.replace(own.outcomes, space=Space.model_validate(known))

    def _spot(self, values: Mapping[str, float]) -> Any:
        meant = values[self._name] / self._factor(values)
        kept = min(max(meant, self._range.low), self._range.high)
        return self._own._spot({**values, self._name: kept})


def by_product(own: Surrogate) -> Surrogate:
    """For a search that tunes max_lr x weight_decay in place of weight_decay."""
    rate = own.outcomes.space.tuned["max_lr"]
    return Elsewise(own, "weight_decay", lambda values: values["max_lr"], math.sqrt(rate.low * rate.high))


def by_share(own: Surrogate, norms: Sequence[float]) -> Surrogate:
    """For a search that tunes grad_clip as a share of the gradient's usual norm.

    Args:
        own: of the table.
        norms: of the table's configurations; of others, that of the one with the nearest max_lr and
            weight_decay.
    """
    places, space = own.outcomes.places, own.outcomes.space
    kept = [number for number, name in enumerate(space.tuned) if name != "grad_clip"]

    def factor(values: Mapping[str, float]) -> float:
        at = place(space, {"grad_clip": space.baseline["grad_clip"], **values})
        return 1 / norms[int(np.argmin(np.linalg.norm((places - at)[:, kept], axis=1)))]

    return Elsewise(own, "grad_clip", factor, 1 / float(np.median(norms)))


def cuts(outcomes: Outcomes) -> Outcomes:
    """The scores after each epoch of the full cycle, as if each were a length."""
    epochs = outcomes.curves.shape[2]
    scores = {epoch: outcomes.curves[:, :, epoch - 1] for epoch in range(1, epochs)}
    return dataclasses.replace(outcomes, scores={**scores, epochs: outcomes.scores[epochs]})


def of_epochs(
    folders: Sequence[Path], space: Space, told: Callable[[list[EpochRow]], float]
) -> dict[int, dict[tuple[float, ...], list[float]]]:
    """What the epochs of each configuration's trials tell, its first one's first, by length and place."""
    found: dict[int, dict[tuple[float, ...], list[float]]] = {}
    for folder in folders:
        epochs: dict[int, list[EpochRow]] = {}
        for epoch in read(folder / "epochs.jsonl", EpochRow):
            epochs.setdefault(epoch.trial, []).append(epoch)
        for row in trials_of(folder):
            if row.score is not None:
                of = found.setdefault(row.epochs, {}).setdefault(tuple(place(space, row.values)), [])
                of.append(told(epochs[row.trial]))
    return found


def by_loss(outcomes: Outcomes, folders: Sequence[Path]) -> Outcomes:
    """Those of a search that promotes by validation loss: 1 / (1 + loss) is the score of shorter trials."""
    lost = of_epochs(folders, outcomes.space, lambda rows: 1 / (1 + rows[-1].val_loss))
    full = outcomes.full_length
    shorter = {length: filled(outcomes, length, lost[length]) for length in outcomes.scores if length != full}
    return dataclasses.replace(outcomes, scores={**shorter, full: outcomes.scores[full]})


def first_by_loss(outcomes: Outcomes, folders: Sequence[Path]) -> Outcomes:
    """Those of a search that promotes by validation loss after the first epoch of the full cycle."""
    lost = of_epochs(folders, outcomes.space, lambda rows: 1 / (1 + rows[0].val_loss))
    full = outcomes.full_length
    scores = {1: filled(outcomes, full, lost[full]), full: outcomes.scores[full]}
    return dataclasses.replace(outcomes, scores=scores)


def filled(
    outcomes: Outcomes, length: int, told: Mapping[tuple[float, ...], Sequence[float]]
) -> NDArray[np.float64]:
    """A table [n, seeds] of what was told of each configuration; 0 for trials that diverged."""
    table = np.where(np.isfinite(outcomes.scores[length]), 0.0, np.nan)
    for line, at in zip(table, outcomes.places, strict=True):
        known = told.get(tuple(at), [])[: len(line)]
        line[: len(known)] = known
    return table


def norms(folders: Sequence[Path], outcomes: Outcomes) -> list[float]:
    """The median norm of the gradient before it was clipped, of each configuration at full length."""
    known = of_epochs(folders, outcomes.space, lambda rows: median(row.grad_norm for row in rows))
    of = {at: told[0] for at, told in known[outcomes.full_length].items()}
    usual = median(of.values())
    return [of.get(tuple(at), usual) for at in outcomes.places]
