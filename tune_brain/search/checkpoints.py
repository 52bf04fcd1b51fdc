"""Checkpoints: the state of a running trial, for the worker that continues it after a crash or an interrupt.

Finished trials keep none: winners are retrained from their configurations, never from checkpoints.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tune_brain.train.training import Training, capture, restore

Rows = list[dict[str, float]]
EVERY = 30.0
"""Seconds of training between checkpoints; shorter trials write none."""


class CheckpointKeeper:
    """Writes the checkpoints of one trial after another, in a thread beside the training.

    Args:
        folder: where checkpoints are, `<trial>.safetensors`.
        budget: bytes that all of them together may take; a checkpoint that would exceed it is not written.
        made_with: identifies everything that decides a trial beside its configuration (images, first weights,
            version); checkpoints made with anything else are ignored.
        every: seconds of training between checkpoints.
        clock: returns seconds.
    """

    def __init__(
        self,
        folder: Path,
        budget: int,
        made_with: str = "",
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._budget, self._made_with = folder, budget, made_with
        self._every, self._clock = every, clock
        self.over_budget = False
        """Whether a checkpoint was left out because of the budget."""
        self._pool = ThreadPoolExecutor(1)
        self._file: Path | None = None
        self._writing: Future[None] | None = None

    def restore_or_begin(self, trial: int, training: Training) -> Rows:
        """Restore a trial from its checkpoint, if there is one; returns the rows up to that point."""
        self._file, self._last = self._folder / f"{trial}.safetensors", self._clock()
        return _load(self._file, training, self._identity(training))

    def keep(self, training: Training, rows: Sequence[dict[str, float]]) -> None:
        """Start writing a checkpoint, unless the last one is recent or still being written.

        Args:
            training: between two epochs.
            rows: of all epochs so far.
        """
        if self._clock() - self._last < self._every or (self._writing and not self._writing.done()):
            return
        assert self._file is not None
        self._last = self._clock()
        metadata = {**self._identity(training), "rows": json.dumps(rows)}
        try:
            state = capture(training)
        except (MemoryError, RuntimeError):
            # How torch reports exhausted memory on a CPU. The trial fits, a copy of its state does not.
            return
        self._writing = self._pool.submit(self._write, self._file, state, metadata)

    def finish(self) -> None:
        """Wait for a checkpoint that is being written."""
        if self._writing:
            self._writing.result()

    def drop(self) -> None:
        """Remove the checkpoint of a trial that has ended."""
        self.finish()
        if self._file:
            for file in self._file.parent.glob(f"{self._file.stem}.*"):
                _remove(file)
        self._file = self._writing = None

    def _identity(self, training: Training) -> dict[str, str]:
        return {"config": training.config.model_dump_json(), "made_with": self._made_with}

    def _write(self, file: Path, state: dict[str, Tensor], metadata: dict[str, str]) -> None:
        """Write to a temporary file and rename it: a checkpoint is complete, or the previous one stays."""
        # A name of this process: on a shared disk, a worker that was given up for lost may still write.
        aside = file.with_suffix(f".{socket.gethostname()}-{os.getpid()}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            others = sum(map(_size, file.parent.iterdir()))
            if others + sum(tensor.nbytes for tensor in state.values()) > self._budget:
                self.over_budget = True
                return
            save_file(state, aside, metadata)
            aside.replace(file)
        except Exception:  # a checkpoint that fails, be it for memory, must not cost the trial
            _remove(aside)


def _load(file: Path, training: Training, identity: Mapping[str, str]) -> Rows:
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
            if any(metadata[name] != value for name, value in identity.items()):
                return []
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        rows: Rows = json.loads(metadata["rows"])
        restore(training, state)
    except (OSError, SafetensorError, KeyError, ValueError):
        return []
    return rows


def _size(file: Path) -> int:
    """Bytes; 0 if another worker has removed the file meanwhile."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
