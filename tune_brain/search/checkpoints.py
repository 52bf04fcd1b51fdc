"""Checkpoints: where a trial was, for the worker that takes it up after its own or its driver has died.

A trial that ends has none: winners are trained again from their configurations, never from weights kept here.
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
"""Seconds of training between two checkpoints; a trial that is shorter leaves none."""


class CheckpointKeeper:
    """Keeps the latest checkpoint of one trial after another, written beside the training.

    Args:
        folder: where checkpoints lie, `<trial>.safetensors`.
        budget: bytes that all of them may take. One that would exceed it, or that cannot be written, is not.
        made_with: what decides a trial beside its configuration; a checkpoint of another is passed over.
        every: seconds of training between two.
        clock: tells seconds.
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
        """Whether a checkpoint was not written for want of room in the budget."""
        self._pool = ThreadPoolExecutor(1)
        self._file: Path | None = None
        self._writing: Future[None] | None = None

    def restore_or_begin(self, trial: int, training: Training) -> Rows:
        """Bring a trial to where its checkpoint stands, if there is one of it; the rows up to there."""
        self._file, self._last = self._folder / f"{trial}.safetensors", self._clock()
        return _load(self._file, training, self._identity(training))

    def keep(self, training: Training, rows: Sequence[dict[str, float]]) -> None:
        """Write a checkpoint after the epoch whose row is the last, if the one before is old and written."""
        if self._clock() - self._last < self._every or (self._writing and not self._writing.done()):
            return
        assert self._file is not None
        self._last = self._clock()
        metadata = {**self._identity(training), "rows": json.dumps(rows)}
        try:
            state = capture(training)
        except (MemoryError, RuntimeError):
            # Torch's own word for memory that ends. There is room for the trial, if not for a copy of it.
            return
        self._writing = self._pool.submit(self._write, self._file, state, metadata)

    def finish(self) -> None:
        """Wait for what is being written."""
        if self._writing:
            self._writing.result()

    def drop(self) -> None:
        """The trial has ended: its checkpoint is of no more use."""
        self.finish()
        if self._file:
            for file in self._file.parent.glob(f"{self._file.stem}.*"):
                _remove(file)
        self._file = self._writing = None

    def _identity(self, training: Training) -> dict[str, str]:
        return {"config": training.config.model_dump_json(), "made_with": self._made_with}

    def _write(self, file: Path, state: dict[str, Tensor], metadata: dict[str, str]) -> None:
        """Aside and renamed, so that a checkpoint is whole; the one before stays where this one cannot be."""
        # Where the disk is shared, a worker that was given up for lost may write still.
        aside = file.with_suffix(f".{socket.gethostname()}-{os.getpid()}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            others = sum(map(_size, file.parent.iterdir()))
            if others + sum(tensor.nbytes for tensor in state.values()) > self._budget:
                self.over_budget = True
                return
            save_file(state, aside, metadata)
            aside.replace(file)
        except Exception:  # memory that ends, too, must not cost the trial
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
    """In bytes; 0 of one that another worker has removed meanwhile."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
