"""A trial inside a worker: built, taken up from its checkpoint if it has one, trained row by row."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from tune_brain import compute
from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development
from tune_brain.models import build
from tune_brain.search.checkpoints import Keeper
from tune_brain.train.fit import fit
from tune_brain.train.process import make_ready
from tune_brain.train.training import begin

Row = dict[str, float]


class Trials:
    """Trains one trial after another on one thread, on the GPU that it was given or else the CPU."""

    def __init__(
        self, development: Development, weights: Mapping[str, torch.Tensor] | None, keeper: Keeper
    ) -> None:
        make_ready()
        self._development, self._weights, self._keeper = development, weights, keeper
        self._device = compute.device()

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return self._device.type

    def rows(self, asked: Mapping[str, Any]) -> Iterator[Row]:
        """A trial's rows: those that its checkpoint holds, then those of the epochs that are left.

        Args:
            asked: the `number` of the trial, and its configuration as plain values, `trial`.

        Raises:
            Diverged: a loss or the norm of the gradient was not finite.
        """
        config = TrialConfig.model_validate(asked["trial"])
        training = begin(build(config, self._weights), config, self._development, self._device)
        rows = self._keeper.take_up(asked["number"], training)
        yield from rows
        for row in fit(training):
            rows.append(row)
            if row["epoch"] < config.epochs:
                self._keeper.keep(training, rows)
            yield row

    @property
    def over_budget(self) -> bool:
        """Whether a checkpoint was not written for want of room."""
        return self._keeper.over_budget

    def ended(self) -> None:
        """The trial has ended, well or not."""
        self._keeper.drop()
