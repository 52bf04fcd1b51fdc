from collections.abc import Callable

import pytest

from tune_brain.records import TrialRow
from tune_brain.space import Space

MakeRow = Callable[..., TrialRow]


@pytest.fixture
def row() -> MakeRow:
    """One trial's row; completed with a score unless told otherwise."""

    def make(configuration: int, epochs: int, score: float | None = 0.5, **fields: object) -> TrialRow:
        given = {
            "trial": configuration * 100 + epochs,
            "arch": "linear",
            "values": {"max_lr": 1e-3},
            "seed": 0,
            "state": "completed" if score is not None else "failed",
            "why": "finished" if score is not None else "diverged",
            "started": 0.0,
        }
        return TrialRow(configuration=configuration, epochs=epochs, score=score, **{**given, **fields})

    return make


@pytest.fixture
def space() -> Space:
    return Space.model_validate(
        {
            "arch": "linear",
            "fixed": {"weight_decay": 0.01},
            "tuned": {"max_lr": {"low": 1e-5, "high": 1e-1}, "grad_clip": {"low": 0.1, "high": 10.0}},
            "baseline": {"max_lr": 1e-3, "grad_clip": 1.0},
        }
    )
