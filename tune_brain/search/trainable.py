"""The trainable: one trial after another inside one Ray worker, a row for each step."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from ray import tune

from tune_brain.config import TrialConfig
from tune_brain.data.prepare import Development
from tune_brain.errors import Diverged
from tune_brain.models import build
from tune_brain.train.fit import fit


class TrialWorker(tune.Trainable):
    """Trains what it is told on the arrays that it was made with; Ray reuses it for the next trial.

    A failure is a last result with `why` and `detail`: the worker lives on, and the row says what happened.
    """

    def setup(
        self,
        config: dict[str, Any],
        development: Development | None = None,
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Take the arrays from Ray's object store and the first trial's configuration."""
        torch.set_num_threads(1)
        self._development, self._weights = development, weights
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Forget the trial before and take up the next."""
        self._plain = new_config
        self._rows: Iterator[dict[str, float]] | None = None
        return True

    def step(self) -> dict[str, Any]:
        """Train one epoch."""
        try:
            row = next(self._begun())
        except Diverged as end:
            return self._failure("diverged", str(end))
        except Exception as error:
            return self._failure("raised", f"{type(error).__name__}: {error}")
        return {**row, "device": self._device.type, "done": row["epoch"] == self._plain["epochs"]}

    def _begun(self) -> Iterator[dict[str, float]]:
        if self._rows is None:
            config = TrialConfig.model_validate(self._plain)
            model = build(config, self._weights)
            assert self._development is not None
            self._rows = fit(model, config, self._development, self._device)
        return self._rows

    def _failure(self, why: str, detail: str) -> dict[str, Any]:
        self._rows = None
        return {"why": why, "detail": detail, "device": self._device.type, "done": True}
