"""What Ray reports about machines and workers, passed on to the searcher and to the user."""

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
    # Private to Ray 2.60; a later version may not have it, see `memory_ends_one_worker`.
    RayActorManager = None

COUNT_EVERY = 1.0
"""Seconds between counts of a cluster's slots."""
LONG = 60.0
"""Seconds without a worker after which the user is told that trials wait."""
_KEPT = {"rows", "done", "why", "detail", "device", "node_ip", "pid", "trial_id", "training_iteration"}
"""The fields of a result that the searcher or Tune still needs."""


class Machines:
    """The slots of a cluster whose machines come and go, counted again about every second.

    Args:
        slots: at the start of the search.
        say: called when their number has changed.
    """

    def __init__(self, slots: Slots, say: Callable[[str], None]) -> None:
        self._slots, self._say, self._counted = slots, say, time.monotonic()

    def slots(self) -> Slots:
        """The current slots."""
        if time.monotonic() > self._counted + COUNT_EVERY:
            now = self._slots.now()
            if now.count != self._slots.count:
                state = f"{now.count} trials at a time" if now.count else "waiting for a machine"
                self._say(f"machines came or went: {state}")
            self._slots, self._counted = now, time.monotonic()
        return self._slots


class ArrivalOrderScheduler(FIFOScheduler):  # type: ignore[misc]
    """Starts trials in the order of dispatch, on a free worker or the one started for them.

    Tune's FIFO order gives every free worker to the first trial whose own worker is still starting, stops
    that start and requests another worker. Where trials are shorter than the start of all workers, most of
    these would never come up. It also scans all trials of the experiment at every result.

    Args:
        searcher: its `stranded` trials are withdrawn.
    """

    def __init__(self, searcher: RowSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Withdraw stranded trials and choose none: Tune then starts each as its worker comes up."""
        if not (stranded := self._searcher.stranded()):
            return
        for trial in tune_controller.get_trials():
            if trial.trial_id in stranded and trial.status == "PENDING":
                _unstage(tune_controller, trial)
                tune_controller.stop_trial(trial)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Forget the worker of a trial that was lost, even if it had not begun with it: it is gone, too.

        Here Tune still knows it; `Workers.on_trial_error`, which learns of the cause, comes later.
        """
        _unstage(tune_controller, trial)
        self._searcher.workers.ended(trial.trial_id, str(trial.temporary_state.ray_actor))


def _unstage(tune_controller: Any, trial: Any) -> None:
    """Withdraw Tune's request for a worker of a trial that no longer needs one; it would stay open."""
    if trial in getattr(tune_controller, "_staged_trials", ()):
        tune_controller._unstage_trial_with_resources(trial)


class Workers(tune.Callback):  # type: ignore[misc]
    """Tells the searcher which workers are up and how others were lost; kills those that hang.

    Args:
        searcher: of the search.
        say: called once for each machine on which no worker starts, when checkpoints exceed their budget, and
            when trials wait long for a worker.
        gpus: per trial.
    """

    def __init__(self, searcher: RowSearcher, say: Callable[[str], None], gpus: float = 0.0) -> None:
        self._searcher, self._say, self._gpus = searcher, say, gpus
        self._failed_machines, self._wide = set[str](), set[str]()
        self._over_budget = self._waits = False
        self.last_loss = ""

    def __getstate__(self) -> dict[str, Any]:
        # As with the searcher: Tune pickles it and never reads it back.
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A worker has started, or got its next trial."""
        self._searcher.is_up(trial.trial_id, str(trial.temporary_state.ray_actor))
        self._share_idle_cpus(trial)

    def on_trial_result(self, trial: Any, result: dict[str, Any], **info: Any) -> None:  # noqa: ARG002
        """Epochs have ended."""
        self._share_idle_cpus(trial)
        if result.get("over_budget") and not self._over_budget:
            self._over_budget = True
            self._say(
                "checkpoints exceed --disk-budget: after a loss, a trial without one starts again at epoch 1"
            )
        if self._gpus and result["device"] == "cpu":
            self._gpus = 0.0
            self._say(
                f"torch cannot use the GPU of {result['node_ip']} (is its driver too old?) and trains on one "
                "CPU instead; --gpus-per-trial 0 uses every CPU"
            )
        # Tune would keep the history of every number of a result for as long as the search lasts.
        for name in result.keys() - _KEPT:
            del result[name]

    def _share_idle_cpus(self, trial: Any) -> None:
        """Tell a worker, before its next epoch, how many threads it may use, see `idle_slots.threads`."""
        threads = self._searcher.threads()
        if threads > 1 or trial.trial_id in self._wide:
            self._wide.add(trial.trial_id)
            trial.temporary_state.ray_actor.use_threads.remote(threads)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A trial has ended, and the searcher has recorded it."""
        trial.last_result.pop("rows", None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A worker was lost."""
        # Ray writes the time on the first line, then the error.
        _, _, message = Path(trial.error_file).read_text(encoding="utf-8").partition("\n")
        why, self.last_loss = _loss(message)
        if self._searcher.lost(trial.trial_id, why, self.last_loss):
            return
        machine = _machine(message)
        if machine not in self._failed_machines:
            self._failed_machines.add(machine)
            self._say(f"a worker did not start on {machine} (trying again): {self.last_loss}")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        """Some time has passed."""
        waiting = self._searcher.waiting(LONG)
        if waiting and not self._waits:
            self._say(f"{waiting} trials wait for a worker: machines may be taken by others, or start slowly")
        self._waits = bool(waiting)
        if overdue := self._searcher.overdue():
            for trial in trials:
                if trial.trial_id in overdue and trial.temporary_state.ray_actor:
                    ray.kill(trial.temporary_state.ray_actor)


@contextlib.contextmanager
def memory_ends_one_worker() -> Iterator[None]:
    """Make Tune treat a worker that Ray killed for its memory as a lost worker.

    Tune 2.60 does not expect that error and ends the whole search with a RuntimeError. A later version may
    not have the patched method; then nothing is changed.
    """
    if not hasattr(RayActorManager, "_actor_task_failed"):
        yield
        return
    original = RayActorManager._actor_task_failed

    def task_failed(manager: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        original(manager, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = task_failed
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = original


def _machine(message: str) -> str:
    """The address of a worker's machine, from Ray's error message."""
    address = re.search(r"\bip[=:] ?([\w.:]+)", message)
    return address.group(1) if address else "a machine"


def _loss(message: str) -> tuple[Why, str]:
    """Why a worker was lost, and the sentence of Ray's error message that says so."""
    # Ray colours a line, and torch appends hints to errors of a GPU.
    message = re.sub(r"\x1b\[[\d;]*m", "", message).strip()
    errors = re.findall(r"^\w[\w.]*(?:Error|Exception)\b.*", message, re.MULTILINE)
    last = [*message.splitlines(), *errors][-1].strip() if message else ""
    if "raised in its creation task" in message:
        return "lost", f"it did not start: {last}"
    if message.startswith("ray::"):
        return "raised", last
    memory = re.search(r"[^.\n]*(?:running low on|out of) memory[^.\n]*", message)
    # For a killed worker Ray guesses at three causes, one of which is memory.
    if memory and "Some common causes" not in message:
        return "memory", memory.group().strip()
    if "is unavailable" in message:
        return "lost", "its machine cannot be reached"
    sentence = re.search(r"The actor is dead because (.*)", message)
    cause = sentence.group(1) if sentence else message.partition("\n")[0]
    cause = re.sub(r"\. Worker exit type: \w+ Worker exit detail: ", ": ", cause)
    return "lost", cause.partition(" Some common causes")[0].strip().removesuffix(".")
