"""The trainable: runs one trial after another in a Ray worker and reports epochs about once a second."""

import contextlib
import faulthandler
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from tune_brain import compute
from tune_brain.cluster import check_versions
from tune_brain.data.arrays import Development
from tune_brain.errors import Diverged

STEP = 1.0
"""Seconds of training per report: each costs Ray's driver milliseconds, so short epochs are batched."""
START = 1800.0
"""Seconds that a worker may take to start, or to take its next trial; after that its process ends.

Twice what 10 GB of images take to arrive over 100 Mbit/s.
"""


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """End this process, with a traceback in its log, if the block takes longer than `START`.

    Otherwise a hanging file system or GPU driver would hold its slot for ever. The timer is a thread of C, so
    it ends code that holds Python's interpreter lock, too.
    """
    faulthandler.dump_traceback_later(START, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


class TrialWorker(tune.Trainable):
    """Trains trials on the arrays that it was created with; Ray reuses it for one trial after another.

    A result has the `rows` of the epochs since the last result, whether checkpoints are `over_budget`, and
    whether the trial is `done`, in which case `why` and `detail` say how it ended. A failed trial is a last
    result too, and the worker lives on, except after an error on a GPU.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with _in_time():
            super().__init__(*args, **kwargs)

    def setup(
        self,
        config: dict[str, Any],
        *,
        development: Development,
        weights: Mapping[str, Any] | None,
        checkpoints: Path,
        disk_budget: int,
        made_with: str,
        versions_of_driver: str,
        gpus: float,
    ) -> None:
        """Take the arrays from Ray's object store, and the first trial.

        Args:
            config: the first trial.
            development: the images.
            weights: the initial weights of the pretrained architecture.
            checkpoints: the folder of checkpoints.
            disk_budget: how many bytes they may take.
            made_with: what a checkpoint must have been made with to be continued.
            versions_of_driver: see `cluster.versions`.
            gpus: of a slot; of 1 or more, the memory must be free.

        Raises:
            RuntimeError: this machine has other versions than the driver.
        """
        check_versions(versions_of_driver)
        # Imported here: the driver of a search needs this class without torch.
        from tune_brain.search.checkpoints import CheckpointKeeper
        from tune_brain.search.trial import rows
        from tune_brain.train.process import make_ready

        make_ready()
        self._gpus = gpus
        self._device = compute.device()
        self._keeper = CheckpointKeeper(checkpoints, disk_budget, made_with)
        self._train = partial(
            rows, development=development, weights=weights, keeper=self._keeper, device=self._device
        )
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Drop the previous trial, whose end the driver has recorded, and take the next.

        Raises:
            RuntimeError: the GPU cannot train it.
        """
        with _in_time():
            self._keeper.drop()
            if self._device.type == "cuda":
                from tune_brain.train.process import check_gpu

                check_gpu(self._gpus)
            self.use_threads(1)
            self._task = new_config
            self._rows: Iterator[dict[str, float]] | None = None
        return True

    def use_threads(self, count: int) -> None:
        """Train on this many CPU threads from now on, until the next trial."""
        import torch

        torch.set_num_threads(count)

    def cleanup(self) -> None:
        """Remove the checkpoint of a trial that has ended; an interrupted one will continue from its own."""
        if self._rows is None:
            self._keeper.drop()

    def step(self) -> dict[str, Any]:
        """Train for a second, or one epoch if that takes longer."""
        result = self._epochs()
        if result["done"]:
            self._rows = None
            if result["why"] != "finished":
                # It may be retried elsewhere while this worker is idle.
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
            self._rows = self._train(self._task)
        try:
            for row in self._rows:
                rows.append(row)
                if time.monotonic() >= until and row["epoch"] < self._task["trial"]["epochs"]:
                    end = {"done": False}
                    break
        except Diverged as error:
            end |= {"why": "diverged", "detail": str(error)}
        except Exception as error:
            from tune_brain.train.process import is_memory

            why = "memory" if is_memory(error) else "raised"
            if why == "raised" and self._device.type == "cuda":
                # After a CUDA error the process may be unusable: raising makes Ray start another one.
                raise
            end |= {"why": why, "detail": f"{type(error).__name__}: {error}"}
        state = {"device": self._device.type, "over_budget": self._keeper.over_budget}
        return {"rows": rows, **state, **end}
