"""Machines come and go, workers start, hang and are lost: what Ray says of it, told to the searcher."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.schedulers import FIFOScheduler

from tune_brain.records import Why
from tune_brain.search.searcher import RowSearcher
from tune_brain.slots import Slots

try:
    from ray.air.execution._internal.actor_manager import RayActorManager
except ImportError:
    # Private to Ray 2.60: one without it is gone on with, see `memory_ends_one_worker`.
    RayActorManager = None

COUNT_EVERY = 1.0
"""Seconds between two counts of a cluster's slots."""
LONG = 60.0
"""Seconds without a worker after which it is said that a trial waits for one."""
_KEPT = {"rows", "done", "why", "detail", "device", "node_ip", "pid", "trial_id", "training_iteration"}
"""Of a result: what the searcher or Tune still asks for."""


class Machines:
    """The slots of a cluster whose machines come and go, counted anew every second or so.

    Args:
        slots: those of the search's start.
        say: told when there are more or fewer.
    """

    def __init__(self, slots: Slots, say: Callable[[str], None]) -> None:
        self._slots, self._say, self._counted = slots, say, time.monotonic()

    def slots(self) -> Slots:
        """The slots that there are now."""
        if time.monotonic() > self._counted + COUNT_EVERY:
            now = self._slots.now()
            if now.count != self._slots.count:
                told = f"{now.count} trials at a time" if now.count else "waiting for a machine"
                self._say(f"machines came or went: {told}")
            self._slots, self._counted = now, time.monotonic()
        return self._slots


class ArrivalOrderScheduler(FIFOScheduler):  # type: ignore[misc]
    """Trials start in the order in which they come, each on the worker that was free or was started for it.

    Tune's own order names, whenever a worker is free, the first trial whose worker still starts: that one is
    stopped, and another asked for in its place. Where trials are shorter than the start of all workers, most
    would never come up. It also looks through all trials that ever were, at every result.

    Args:
        searcher: of whose trials those are withdrawn that wait in vain for a worker, see its `stranded`.
    """

    def __init__(self, searcher: RowSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Withdraw what is stranded, and choose none: Tune starts what comes, on a worker that is free."""
        if not (stranded := self._searcher.stranded()):
            return
        for trial in tune_controller.get_trials():
            if trial.trial_id in stranded and trial.status == "PENDING":
                # Else Tune, which has asked for its worker, would keep a place for it and no other worker.
                if trial in getattr(tune_controller, "_staged_trials", ()):
                    tune_controller._unstage_trial_with_resources(trial)
                tune_controller.stop_trial(trial)


class Workers(tune.Callback):  # type: ignore[misc]
    """Tells the searcher which workers are up and how one was lost; ends those that hang.

    Args:
        searcher: what it tells.
        say: told once of each machine on which no worker starts, of checkpoints that have no room, and of
            trials that wait long for a worker.
        gpus: how many a trial was given.
    """

    def __init__(self, searcher: RowSearcher, say: Callable[[str], None], gpus: float = 0.0) -> None:
        self._searcher, self._say, self._gpus = searcher, say, gpus
        self._failed_machines = set[str]()
        self._over_budget = self._waits = False
        self.last_loss = ""

    def __getstate__(self) -> dict[str, Any]:
        # As of the searcher: Tune pickles it, and nothing is read from there.
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A worker has started, or has been given its next trial."""
        self._searcher.is_up(trial.trial_id, str(trial.temporary_state.ray_actor))

    def on_trial_result(self, result: dict[str, Any], **info: Any) -> None:  # noqa: ARG002
        """Epochs have ended."""
        if result.get("over_budget") and not self._over_budget:
            self._over_budget = True
            self._say(
                "checkpoints have no more room in --disk-budget: what has none begins anew after a loss"
            )
        if self._gpus and result["device"] == "cpu":
            self._gpus = 0.0
            self._say(
                f"torch cannot use the GPU of {result['node_ip']}, whose driver may be too old, and trains "
                "on one CPU in its place; --gpus-per-trial 0 trains on every CPU"
            )
        # Of a trial Tune keeps the course of every number, for as long as the search lasts.
        for name in result.keys() - _KEPT:
            del result[name]

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial has ended, and the searcher has heard of it."""
        trial.last_result.pop("rows", None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A worker was lost."""
        # Ray writes when it happened, then the error's own words.
        _, _, words = Path(trial.error_file).read_text(encoding="utf-8").partition("\n")
        why, self.last_loss = _loss(words)
        if self._searcher.lost(trial.trial_id, why, self.last_loss):
            return
        machine = _machine(words)
        if machine not in self._failed_machines:
            self._failed_machines.add(machine)
            self._say(f"a worker did not start on {machine}, which is tried again: {self.last_loss}")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        """Some time has passed."""
        waiting = self._searcher.waiting(LONG)
        if waiting and not self._waits:
            self._say(f"{waiting} trials wait for a worker: others may hold the machines, or it is slow")
        self._waits = bool(waiting)
        if overdue := self._searcher.overdue():
            for trial in trials:
                if trial.trial_id in overdue and trial.temporary_state.ray_actor:
                    ray.kill(trial.temporary_state.ray_actor)


@contextlib.contextmanager
def memory_ends_one_worker() -> Iterator[None]:
    """Let Tune take a worker that Ray ended for its memory for one that was lost.

    Tune 2.60 does not expect that error, and ends the whole search with a RuntimeError. A later one may have
    no such method, and is left as it is.
    """
    if not hasattr(RayActorManager, "_actor_task_failed"):
        yield
        return
    hear = RayActorManager._actor_task_failed

    def heard(manager: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        hear(manager, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = heard
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = hear


def _machine(words: str) -> str:
    """The address that Ray names among all that it says of a worker."""
    named = re.search(r"\bip[=:] ?([\w.:]+)", words)
    return named.group(1) if named else "a machine"


def _loss(words: str) -> tuple[Why, str]:
    """Why a worker was lost, and the sentence that says it, among all that Ray says of it."""
    # Ray colours a line, and torch ends what it says of a GPU with hints.
    words = re.sub(r"\x1b\[[\d;]*m", "", words).strip()
    errors = re.findall(r"^\w[\w.]*(?:Error|Exception)\b.*", words, re.MULTILINE)
    told = [*words.splitlines(), *errors][-1].strip() if words else ""
    memory = re.search(r"[^.\n]*(?:running low on|out of) memory[^.\n]*", words)
    # Of a worker that was killed Ray guesses at three causes, one of which is memory.
    if memory and "Some common causes" not in words:
        return "memory", memory.group().strip()
    if "is unavailable" in words:
        return "lost", "its machine cannot be reached"
    if "raised in its creation task" in words:
        return "lost", f"it did not start: {told}"
    if words.startswith("ray::"):
        return "raised", told
    sentence = re.search(r"The actor is dead because (.*)", words)
    said = sentence.group(1) if sentence else words.partition("\n")[0]
    said = re.sub(r"\. Worker exit type: \w+ Worker exit detail: ", ": ", said)
    return "lost", said.partition(" Some common causes")[0].strip().removesuffix(".")
