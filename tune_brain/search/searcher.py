"""The searcher: hands Ray Tune the next trial of the study whose turn it is, and writes the rows."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.search import Searcher

from tune_brain.config import Precision, RunConfig
from tune_brain.records import BASELINE, TrialRow, Why
from tune_brain.search.fair_share import by_need
from tune_brain.search.in_flight import AllInFlight, InFlight
from tune_brain.search.ladder import Retry, Step, Train, cycle, next_step, room
from tune_brain.search.ledger import Ledger
from tune_brain.search.sampler import StudySampler
from tune_brain.search.study import ATTEMPTS, is_tried_again
from tune_brain.search.worker_health import WorkerHealth
from tune_brain.seeds import derive
from tune_brain.slots import Slots
from tune_brain.space import Space
from tune_brain.text import duration


class RowSearcher(Searcher):
    """What to train next is a pure function of the ledger's rows, the seed and which trials are live.

    Ray asks for trials ahead of its free slots; a suggestion made early would know less, so no more
    trials are handed out than there are slots now: machines come and go.
    """

    def __init__(
        self,
        config: RunConfig,
        spaces: Mapping[str, Space],
        ledger: Ledger,
        *,
        classes: int,
        precision: Mapping[str, Precision],
        slots: Callable[[], Slots],
        on_end: Callable[[TrialRow], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._config, self._spaces, self._ledger = config, spaces, ledger
        self._classes, self._precision, self._slots, self._on_end = classes, precision, slots, on_end
        self._clock = clock
        self._samplers = {
            arch: StudySampler(spaces[arch], config.ladder, seed=config.seed, sampler=config.sampler)
            for arch in config.arch
        }
        self._live = AllInFlight()
        self.crew = WorkerHealth(clock)
        self.broken: Exception | None = None
        """What the end of a trial could not be written or told for."""
        self._deadline = clock() + config.time_budget if config.time_budget else None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's plain configuration, None while all must wait, or FINISHED."""
        slots, late = self._slots(), self._late
        self.crew.hear_slots(slots.count)
        if late and not self._live:
            # Be it that there is no machine: what ended may be chosen from.
            self._give_back()
            return str(Searcher.FINISHED)
        if self._live.taken(self._clock()) >= slots.count or self.crew.holds_back(len(self._live)):
            return None
        if self._live.waits_for_room(slots.largest, self._clock()):
            return None
        studies = [] if late or self.crew.all_lost else self._by_need(slots.count)
        # What needs more room than a slot goes first: others would take each that frees.
        for arch in sorted(studies, key=lambda arch: -self._room(arch, slots.largest)):
            step = self._next(arch)
            if isinstance(step, Retry | Train):
                return self._begin(trial_id, arch, step, slots)
        if self._live:
            return None
        self._give_back()
        return str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Epochs ended, and perhaps the trial with them."""
        live = self._live[trial_id]
        trial = live.trial
        live.further |= self._ledger.epochs(trial, result["rows"])
        self.crew.heard_epoch()
        if not result["done"] and not self._ledger.trials[trial].node:
            self._ledger.amend(trial, **_where(result))
        if result["done"]:
            self._on_end(self._end(trial, result))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The trial left its worker. Of one that was lost with it Ray says next how (see `lost`)."""
        if error:
            return
        try:
            if result is None:
                self._not_begun(self._live[trial_id].trial, "it had no worker when it was withdrawn")
            else:
                self.on_trial_result(trial_id, result)
        except Exception as failure:
            # Which Tune takes for the loss of the worker.
            self.broken = failure
            raise
        self.crew.ended(trial_id)
        del self._live[trial_id]

    def lost(self, trial_id: str, why: Why, detail: str) -> bool:
        """Hear that a trial has lost its worker; returns whether that had started.

        One that did not is no attempt of its trial, and while another is up no sign that none can live.
        """
        if self.broken:
            raise self.broken
        overdue = trial_id in self.overdue()
        live = self._live.pop(trial_id)
        self.crew.ended(trial_id, live.worker)
        row = self._ledger.trials[live.trial]
        started = live.up is not None or why != "lost"
        if overdue:
            why, detail = "timeout", f"it trained for more than {duration(self._config.trial_timeout or 0)}"
        elif started or not self._live.any_up:
            self.crew.lost_in_a_row.append(live.trial)
        if not started:
            self._not_begun(live.trial, detail)
            self.crew.did_not_start()
            return False
        attempt = 0 if live.further and why == "lost" else _attempt(row, why)
        self._on_end(self._ledger.end(live.trial, state="failed", why=why, detail=detail, attempt=attempt))
        return True

    def is_up(self, trial_id: str, worker: str) -> None:
        """The worker of a trial has started, or was there."""
        self.crew.started(trial_id, worker)
        live = self._live[trial_id]
        live.up, live.worker = self._clock(), worker

    def overdue(self) -> list[str]:
        """The trials that have trained for longer than a trial may."""
        if self._config.trial_timeout is None:
            return []
        return self._live.begun_before(self._clock() - self._config.trial_timeout)

    def waiting(self, seconds: float) -> int:
        """How many trials were handed out longer ago than this and have no worker yet."""
        return self._live.waiting(self._clock() - seconds)

    def stranded(self) -> set[str]:
        """The trials that have no worker and are to be withdrawn, see `AllInFlight.stranded`."""
        return self._live.stranded(self._slots().largest, late=self._late)

    def _not_begun(self, trial: int, detail: str) -> None:
        """A trial had no worker: no attempt of it, and what its memory asks for is asked for still."""
        row = self._ledger.trials[trial]
        why, attempt = row.why or "lost", row.attempt - 1
        self._ledger.end(trial, state="failed", why=why, detail=detail, attempt=attempt)

    def _give_back(self) -> None:
        """Give the trials that failed for good, as no worker could live, one attempt when it goes on.

        One and not all: where they are the cause themselves, a search that goes on must come past them.
        """
        for trial in set(self.crew.lost_in_a_row) if self.crew.all_lost else ():
            row = self._ledger.trials[trial]
            if row.state == "failed" and row.why in ("lost", "raised") and not is_tried_again(row):
                self._ledger.amend(trial, attempt=ATTEMPTS[row.why] - 1)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the rows are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the rows are the state."""

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune pickles the searcher into its experiment folder, from which nothing is ever read here.
        return {}

    def _by_need(self, slots: int) -> list[str]:
        # Where the time is bounded it may be over before the lighter ones' turn comes.
        lead = 0 if self._deadline is not None else (slots - 1) * sum(self._config.ladder)
        studies = {arch: self._ledger.study(arch) for arch in self._config.arch}
        return by_need(studies, self._live.trials, lead)

    def _next(self, arch: str) -> Step:
        return next_step(
            self._ledger.study(arch),
            self._config.ladder,
            self._config.configs,
            self._live.trials,
            self._config.final_round,
            self._config.until_converged,
        )

    def _room(self, arch: str, largest: int) -> int:
        # Only what is tried again needs more than a slot, and to ask the ladder takes longer than to look.
        again = any(row.state == "failed" for row in self._ledger.study(arch).unsettled.values())
        return room(self._next(arch), largest) if again else 1

    @property
    def _late(self) -> bool:
        return self._deadline is not None and self._clock() > self._deadline

    def _begin(self, trial_id: str, arch: str, step: Retry | Train, slots: Slots) -> dict[str, Any] | None:
        needed = room(step, slots.largest)
        if needed > 1 and self._live and self._live.taken(self._clock()) + needed > slots.count:
            return None
        if isinstance(step, Retry):
            fresh = {"state": "running", "detail": "", "started": time.time(), "node": "", "worker": 0}
            why = "memory" if step.row.why == "memory" else None
            row = step.row.model_copy(update={**fresh, "why": why, "attempt": step.attempt})
        else:
            row = TrialRow(
                trial=self._ledger.next_number,
                arch=arch,
                configuration=step.configuration,
                epochs=step.epochs,
                cycle=cycle(self._ledger.study(arch), step.epochs, self._config.epochs),
                repeat=step.repeat,
                values=self._values(arch, step.configuration),
                seed=self._seed(arch, step),
                state="running",
                started=time.time(),
            )
        self._ledger.start(row)
        self._live[trial_id] = InFlight(row.trial, needed, self._clock())
        self.crew.called(trial_id, slots.count)
        trial = self._spaces[arch].trial(
            row.values,
            epochs=row.epochs,
            cycle=row.cycle,
            image_size=self._config.image_size,
            classes=self._classes,
            seed=row.seed,
            precision=self._precision[arch],
        )
        return {"number": row.trial, "room": needed, "trial": trial.model_dump()}

    def _values(self, arch: str, configuration: int) -> dict[str, float]:
        study, space = self._ledger.study(arch), self._spaces[arch]
        if configuration == BASELINE:
            return space.baseline
        if known := study.of(configuration):
            return known[0].values
        if configuration <= len(space.first):
            return space.first[configuration - 1]
        return self._samplers[arch].suggest(study, configuration)

    def _seed(self, arch: str, step: Train) -> int:
        names = (arch, step.configuration, step.epochs)
        return derive(self._config.seed, *names, *(("repeat", step.repeat) if step.repeat else ()))

    def _end(self, trial: int, result: Mapping[str, Any]) -> TrialRow:
        finished = result["why"] == "finished"
        return self._ledger.end(
            trial,
            state="completed" if finished else "failed",
            why=result["why"],
            detail=result["detail"],
            attempt=_attempt(self._ledger.trials[trial], result["why"]),
            score=result["rows"][-1]["val_macro_f1"] if finished else None,
            **_where(result),
        )


def _attempt(row: TrialRow, why: str) -> int:
    """Which attempt has ended: the first, where memory ends for the first time and more room may help."""
    anew = why == "memory" and row.why != "memory" and row.attempt < ATTEMPTS["lost"]
    return 1 if anew else row.attempt


def _where(result: Mapping[str, Any]) -> dict[str, Any]:
    return {"node": result["node_ip"], "worker": result["pid"], "device": result["device"]}
