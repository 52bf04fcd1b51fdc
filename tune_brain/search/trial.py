"""A trial inside a worker: built, taken up from its checkpoint if it has one, trained row by row."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development
from tune_brain.models import build
from tune_brain.search.checkpoints import CheckpointKeeper
from tune_brain.train.fit import fit
from tune_brain.train.training import begin


def rows(
    asked: Mapping[str, Any],
    development: Development,
    weights: Mapping[str, torch.Tensor] | None,
    keeper: CheckpointKeeper,
    device: torch.device,
) -> Iterator[dict[str, float]]:
    """A trial's rows: those that its checkpoint holds, then those of the epochs that are left.

    Args:
        asked: the `number` of the trial, and its configuration as plain values, `trial`.
        development: what it trains on.
        weights: where a pretrained architecture starts, or None.
        keeper: has its checkpoint, and keeps those that follow.
        device: on which it trains.

    Raises:
        Diverged: a loss or the norm of the gradient was not finite.
    """
    config = TrialConfig.model_validate(asked["trial"])
    training = begin(build(config, weights), config, development, device)
    ended = keeper.restore_or_begin(asked["number"], training)
    yield from ended
    for row in fit(training):
        ended.append(row)
        if row["epoch"] < config.epochs:
            keeper.keep(training, ended)
        yield row
