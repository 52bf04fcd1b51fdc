"""The trainable: one trial after another inside one Ray worker, its epochs handed over a second at a time."""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from tune_brain import compute
from tune_brain.data.arrays import Development
from tune_brain.errors import Diverged

STEP = 1.0
"""Seconds: Ray's driver works for milliseconds on each result, so short epochs are handed over together."""


class TrialWorker(tune.Trainable):
    """Trains what it is told on the arrays that it was made with; Ray reuses it for the next trial.

    A result holds the `rows` of the epochs since the one before, whether checkpoints are `over_budget`, and
    whether the trial is `done`; then also `why` and `detail`. A failure is a last result too, and the worker
    lives on, unless it is one of a GPU.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        development: Development,
        weights: Mapping[str, Any] | None,
        checkpoints: Path,
        disk_budget: int,
        made_with: str,
    ) -> None:
        """Take the arrays from Ray's object store and the first trial's configuration."""
        # Here and not above: the driver of a search needs this class and not torch.
        from tune_brain.search.checkpoints import CheckpointKeeper
        from tune_brain.search.trial import rows
        from tune_brain.train.process import make_ready

        make_ready()
        self._device = compute.device()
        self._keeper = CheckpointKeeper(checkpoints, disk_budget, made_with)
        self._begun = partial(
            rows, development=development, weights=weights, keeper=self._keeper, device=self._device
        )
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the trial before, of whose end the driver has heard, and take up the next."""
        self._keeper.drop()
        self._asked = new_config
        self._rows: Iterator[dict[str, float]] | None = None
        return True

    def cleanup(self) -> None:
        """Leave no checkpoint of a trial that has ended; one that is interrupted goes on from its own."""
        if self._rows is None:
            self._keeper.drop()

    def step(self) -> dict[str, Any]:
        """Train for a second, or one epoch if that takes longer."""
        result = self._epochs()
        if result["done"]:
            self._rows = None
            if result["why"] != "finished":
                # It may be tried again elsewhere while this worker has nothing to do.
                self._keeper.drop()
            if self._device.type == "cuda":
                from tune_brain.train.process import give_back

                give_back()
        return result

    def _epochs(self) -> dict[str, Any]:
        rows: list[dict[str, float]] = []
        end = {"done": True, "why": "finished", "detail": ""}
        until = time.monotonic() + STEP
        if self._rows is None:
            self._rows = self._begun(self._asked)
        try:
            for row in self._rows:
                rows.append(row)
                if time.monotonic() >= until and row["epoch"] < self._asked["trial"]["epochs"]:
                    end = {"done": False}
                    break
        except Diverged as error:
            end |= {"why": "diverged", "detail": str(error)}
        except Exception as error:
            from tune_brain.train.process import is_memory

            why = "memory" if is_memory(error) else "raised"
            if why == "raised" and self._device.type == "cuda":
                # An error of CUDA can leave a process in which nothing runs any more: Ray starts another.
                raise
            end |= {"why": why, "detail": f"{type(error).__name__}: {error}"}
        told = {"device": self._device.type, "over_budget": self._keeper.over_budget}
        return {"rows": rows, **told, **end}
