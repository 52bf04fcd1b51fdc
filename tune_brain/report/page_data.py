"""Trials and epochs as columns of plain values, embedded in the page for its script."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tune_brain.data.batches import steps_per_epoch
from tune_brain.report.formatting import reason
from tune_brain.report.tables.studies import parameters
from tune_brain.space import Space

Columns = dict[str, list[Any]]

EPOCH_MEASURES = ("train_loss", "val_loss", "lr", "grad_norm", "clipped_share")
"""The columns of `RunView.curves` that the page's script draws."""


def trial_columns(trials: pd.DataFrame, spaces: Mapping[str, Space], images: int) -> Columns:
    """All trials, one list per column, with None for missing values. Times are in seconds.

    Args:
        trials: see `RunView.trials`.
        spaces: the spaces, by architecture.
        images: number of training images; 0 if unknown.
    """
    columns: Columns = {
        "trial": trials["trial"].tolist(),
        "architecture": trials["arch"].tolist(),
        "configuration": trials["configuration"].tolist(),
        "epochs": trials["epochs"].tolist(),
    }
    for name in parameters(trials):
        columns[name] = [_number(values.get(name)) for values in trials["values"]]
    columns |= {
        "macro_f1": [_number(score) for score in trials["score"]],
        "fate": trials["fate"].tolist(),
        "repeat": trials["repeat"].tolist(),
        "why": [reason(line) for line in trials.to_dict("records")],
        "seconds": [round(seconds, 1) for seconds in trials["seconds"]],
        "started": [round(started, 1) for started in trials["started"]],
        "machine": trials["node"].tolist(),
        "worker": trials["worker"].tolist(),
        "device": trials["device"].tolist(),
        "attempt": trials["attempt"].tolist(),
        "winner": trials["winner"].tolist(),
        # From these the page's script computes the learning rate of each step.
        "cycle": trials["cycle"].tolist(),
        "warmup_share": _values(trials, spaces, "warmup_share"),
        "peak": [_number(peak) for peak in _values(trials, spaces, "max_lr")],
        "steps": [
            steps_per_epoch(images, int(size)) or None for size in _values(trials, spaces, "batch_size")
        ],
    }
    return columns


def _values(trials: pd.DataFrame, spaces: Mapping[str, Space], name: str) -> list[float]:
    """One hyperparameter of each trial, tuned or fixed."""
    fixed = {arch: getattr(space.hyperparameters(space.baseline), name) for arch, space in spaces.items()}
    pairs = zip(trials["arch"], trials["values"], strict=True)
    return [values.get(name, fixed[arch]) for arch, values in pairs]


def epoch_columns(curves: pd.DataFrame) -> Columns:
    """All epochs of all trials, one list per metric, to five significant digits."""
    columns: Columns = {name: curves[name].tolist() for name in ("trial", "epoch")}
    return columns | {name: [_number(value, 5) for value in curves[name]] for name in EPOCH_MEASURES}


def _number(value: Any, digits: int = 6) -> float | None:
    return None if value is None or np.isnan(value) else float(f"{value:.{digits}g}")
