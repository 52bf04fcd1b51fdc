"""The trainable: one trial after another inside one Ray worker, its epochs handed over a second at a time."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ray import tune

from tune_brain.data.arrays import Development
from tune_brain.errors import Diverged

STEP = 1.0
"""Seconds: Ray's driver works for milliseconds on each result, so short epochs are handed over together."""


class TrialWorker(tune.Trainable):
    """Trains what it is told on the arrays that it was made with; Ray reuses it for the next trial.

    A result holds the `rows` of the epochs since the one before, whether checkpoints are `over_budget`, and
    whether the trial is `done`; then also `why` and `detail`. A failure is a last result too: the worker
    lives on.
    """

    def setup(
        self,
        config: dict[str, Any],
        development: Development | None = None,
        weights: Mapping[str, Any] | None = None,
        checkpoints: Path = Path("checkpoints"),
        disk_budget: int = 0,
        made_with: str = "",
    ) -> None:
        """Take the arrays from Ray's object store and the first trial's configuration."""
        # Here and not above: the driver of a search needs this class and not torch.
        from tune_brain.search.checkpoints import Keeper
        from tune_brain.search.trial import Trials

        assert development is not None
        self._trials = Trials(development, weights, Keeper(checkpoints, disk_budget, made_with))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the trial before and take up the next."""
        self._asked = new_config
        self._rows: Iterator[dict[str, float]] | None = None
        return True

    def step(self) -> dict[str, Any]:
        """Train for a second, or one epoch if that takes longer."""
        result = self._epochs()
        if result["done"]:
            self._rows = None
            self._trials.ended()
        return result

    def _epochs(self) -> dict[str, Any]:
        rows: list[dict[str, float]] = []
        end = {"done": True, "why": "finished", "detail": ""}
        until = time.monotonic() + STEP
        if self._rows is None:
            self._rows = self._trials.rows(self._asked)
        try:
            for row in self._rows:
                rows.append(row)
                if time.monotonic() >= until and row["epoch"] < self._asked["trial"]["epochs"]:
                    end = {"done": False}
                    break
        except Diverged as error:
            end |= {"why": "diverged", "detail": str(error)}
        except Exception as error:
            why = "memory" if _ran_out_of_memory(error) else "raised"
            end |= {"why": why, "detail": f"{type(error).__name__}: {error}"}
        told = {"device": self._trials.device, "over_budget": self._trials.over_budget}
        return {"rows": rows, **told, **end}


def _ran_out_of_memory(error: Exception) -> bool:
    """Python's own error, torch's of a GPU, or what torch says of a CPU."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(error)
