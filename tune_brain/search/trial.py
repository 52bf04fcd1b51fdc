"""A trial inside a worker: built, restored from its checkpoint if it has one, trained epoch by epoch."""

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
    task: Mapping[str, Any],
    development: Development,
    weights: Mapping[str, torch.Tensor] | None,
    keeper: CheckpointKeeper,
    device: torch.device,
) -> Iterator[dict[str, float]]:
    """A trial's rows: those from its checkpoint, then one for each remaining epoch.

    Args:
        task: the `number` of the trial, and its configuration as plain values, `trial`.
        development: training and validation images.
        weights: initial weights of a pretrained architecture, or None.
        keeper: restores and writes its checkpoints.
        device: to train on.

    Raises:
        Diverged: a loss or the norm of the gradient was not finite.
    """
    config = TrialConfig.model_validate(task["trial"])
    training = begin(build(config, weights), config, development, device)
    done = keeper.restore_or_begin(task["number"], training)
    yield from done
    for row in fit(training):
        done.append(row)
        if row["epoch"] < config.epochs:
            keeper.keep(training, done)
        yield row
