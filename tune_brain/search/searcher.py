"""The searcher: gives Ray Tune the next trial of the study whose turn it is, and records what comes back."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.search import Searcher

from tune_brain.config import Precision, RunConfig
from tune_brain.records import BASELINE, TrialRow, Why
from tune_brain.search.fair_share import by_need
from tune_brain.search.idle_slots import threads
from tune_brain.search.in_flight import AllInFlight, InFlight
from tune_brain.search.ladder import Retry, Train, cycle, next_step, slots_needed
from tune_brain.search.ledger import Ledger
from tune_brain.search.sampler import StudySampler
from tune_brain.search.study import ATTEMPTS, attempts, is_tried_again
from tune_brain.search.worker_health import LOST_IN_A_ROW, WorkerHealth
from tune_brain.seeds import derive
from tune_brain.slots import Slots
from tune_brain.space import Space
from tune_brain.text import duration


class RowSearcher(Searcher):
    """What to train next is a pure function of the ledger's rows, the seed and the trials in flight.

    Ray asks for trials before slots are free. A suggestion made early would know less, so no more trials are
    given out than there are slots at the moment (machines come and go). Only a retry that needs two slots
    waits for the second one with Ray.
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
        self._in_flight = AllInFlight()
        self._last_was_large = False
        self._large_refused = Counter[int]()
        """How often no worker of two slots started, by trial."""
        self.workers = WorkerHealth(clock)
        self.broken: Exception | None = None
        """The error that kept the end of a trial from being recorded."""
        self._deadline = clock() + config.time_budget if config.time_budget else None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's plain configuration, None while all must wait, or FINISHED."""
        slots = self._slots()
        self.workers.note_slots(slots.count)
        # Once the time is over it ends even without machines: winners are chosen from the completed trials.
        if self._late or (self.workers.all_lost and slots.count):
            return None if self._in_flight else self._finish()
        if (room := self._room(slots)) < 1:
            return None
        for arch in self._by_need(slots.count):
            step = next_step(self._ledger.study(arch), self._config, self._in_flight.trials)
            if not isinstance(step, Retry | Train):
                continue
            needed = slots_needed(step, slots.largest, slots.gpus)
            if isinstance(step, Retry) and self._large_refused[step.row.trial] >= LOST_IN_A_ROW - 1:
                # The only machine with room for two slots may be one on which no worker starts.
                needed = 1
            # Ray does not know of --concurrency, and would start a larger retry beside the other trials.
            if slots.limit == slots.count and self._in_flight and needed > room:
                return None
            if needed > 1 or self._last_was_large:
                # Tune ends idle workers of another size for it, and tells nobody.
                self.workers.keep({trial.worker for trial in self._in_flight.values()})
            self._last_was_large = needed > 1
            self.workers.dispatched(trial_id, slots.count)
            return self._begin(trial_id, arch, step, needed)
        return None if self._in_flight else self._finish()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Record completed epochs, and the end of the trial if it has ended."""
        this = self._in_flight[trial_id]
        this.new_epochs |= self._ledger.add_epochs(this.trial, result["rows"])
        if result["rows"]:
            self.workers.epoch_completed()
        if result["done"]:
            self._on_end(self._end(this, result))
        elif not self._ledger.trials[this.trial].node:
            self._ledger.amend(this.trial, **_began(this), **_where(result))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The trial left its worker. If it was lost with it, Ray says how right after (see `lost`)."""
        if error:
            return
        try:
            if result is None:
                trial = self._in_flight[trial_id].trial
                self._not_begun(trial, "lost", "it had no worker when it was withdrawn")
            else:
                self.on_trial_result(trial_id, result)
        except Exception as failure:
            # Tune would take it for the loss of a worker.
            self.broken = failure
            raise
        self.workers.ended(trial_id)
        del self._in_flight[trial_id]

    def lost(self, trial_id: str, why: Why, detail: str) -> bool:
        """Record that a trial was lost with its worker; returns whether that worker had begun with it.

        If it had not, the loss is no attempt of the trial, nor does it count against all workers as long as
        another one is up. Nor does that of a trial which is retried with more memory.
        """
        if self.broken:
            raise self.broken
        overdue = trial_id in self.overdue()
        this = self._in_flight.pop(trial_id)
        self.workers.ended(trial_id, this.worker)
        if this.up is None:
            if not self._in_flight.any_up:
                self.workers.lost_in_a_row.append(this.trial)
            self._not_begun(this.trial, why, detail)
            self.workers.did_not_start()
            self._large_refused[this.trial] += this.slots > 1
            return False
        if overdue:
            why, detail = "timeout", f"it trained for more than {duration(self._config.trial_timeout or 0)}"
        attempt = attempts(self._ledger.trials[this.trial], why, new_epochs=this.new_epochs)
        end = {"state": "failed", "why": why, "detail": detail, "attempt": attempt}
        ended = self._ledger.end(this.trial, **end, **_began(this))
        if not overdue and not (why == "memory" and is_tried_again(ended)):
            self.workers.lost_in_a_row.append(this.trial)
        self._on_end(ended)
        return True

    def is_up(self, trial_id: str, worker: str) -> None:
        """The worker of a trial has started, or was up already, and begins with it."""
        self.workers.started(trial_id, worker)
        this = self._in_flight[trial_id]
        this.up, this.started, this.worker = self._clock(), time.time(), worker

    def overdue(self) -> list[str]:
        """The trials that have trained for longer than `trial_timeout`."""
        if self._config.trial_timeout is None:
            return []
        return self._in_flight.begun_before(self._clock() - self._config.trial_timeout)

    def waiting(self, seconds: float) -> int:
        """How many trials were dispatched longer ago than this and have no worker yet."""
        return self._in_flight.waiting(self._clock() - seconds, self._clock())

    def stranded(self) -> set[str]:
        """The trials without a worker that are to be withdrawn, see `AllInFlight.stranded`."""
        return self._in_flight.stranded(self._slots().largest, late=self._late)

    def threads(self) -> int:
        """How many CPU threads each running trial may use, see `idle_slots.threads`."""
        studies = [self._ledger.study(arch) for arch in self._config.arch]
        return threads(studies, self._config, self._in_flight, self._slots(), self._clock())

    def _room(self, slots: Slots) -> int:
        """How many slots are free for further trials; none while these must wait for a worker or a retry."""
        now, running = self._clock(), self._in_flight
        if self.workers.holds_back(len(running)) or running.blocks_others(slots.largest, now):
            return 0
        return slots.count - running.taken(now)

    def _not_begun(self, trial: int, cause: Why, detail: str) -> None:
        """Record that no worker began with a trial: this was no attempt; a need for more memory is kept."""
        row = self._ledger.trials[trial]
        why: Why = row.why or ("memory" if cause == "memory" else "lost")
        end = {"state": "failed", "why": why, "detail": detail, "attempt": attempts(row, why, begun=False)}
        self._ledger.end(trial, started=time.time(), **end)

    def _finish(self) -> str:
        """End the search; if no worker survived, grant each trial of the losing streak one more attempt.

        Only one: where the trials themselves kill workers, a search that is resumed must get past them.
        """
        for trial in set(self.workers.lost_in_a_row) if self.workers.all_lost else ():
            row = self._ledger.trials[trial]
            if row.state == "failed" and row.why in ATTEMPTS and not is_tried_again(row):
                self._ledger.amend(trial, attempt=ATTEMPTS[row.why] - 1)
        return str(Searcher.FINISHED)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the rows are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the rows are the state."""

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune pickles the searcher into its experiment folder, which is never read.
        return {}

    def _by_need(self, slots: int) -> list[str]:
        # With a time budget there is no head start: the lighter studies might never get their turn.
        head_start = 0 if self._deadline is not None else (slots - 1) * sum(self._config.ladder)
        studies = {arch: self._ledger.study(arch) for arch in self._config.arch}
        return by_need(studies, self._in_flight.trials, head_start)

    @property
    def _late(self) -> bool:
        return self._deadline is not None and self._clock() > self._deadline

    def _begin(self, trial_id: str, arch: str, step: Retry | Train, needed: int) -> dict[str, Any]:
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
                cycle=cycle(step.epochs, self._config.full_length),
                repeat=step.repeat,
                values=self._values(arch, step.configuration),
                seed=self._seed(arch, step),
                state="running",
                started=time.time(),
            )
        self._ledger.start(row)
        self._in_flight[trial_id] = InFlight(row.trial, needed, self._clock())
        trial = self._spaces[arch].trial(
            row.values,
            epochs=row.epochs,
            cycle=row.cycle,
            image_size=self._config.image_size,
            classes=self._classes,
            seed=row.seed,
            precision=self._precision[arch],
        )
        return {"number": row.trial, "slots": needed, "trial": trial.model_dump()}

    def _values(self, arch: str, configuration: int) -> dict[str, float]:
        study, space = self._ledger.study(arch), self._spaces[arch]
        if configuration == BASELINE:
            return space.baseline
        if trials := study.of(configuration):
            return trials[0].values
        if configuration <= len(space.first):
            return space.first[configuration - 1]
        return self._samplers[arch].suggest(study, configuration)

    def _seed(self, arch: str, step: Train) -> int:
        names = (arch, step.configuration, step.epochs)
        return derive(self._config.seed, *names, *(("repeat", step.repeat) if step.repeat else ()))

    def _end(self, this: InFlight, result: Mapping[str, Any]) -> TrialRow:
        finished = result["why"] == "finished"
        return self._ledger.end(
            this.trial,
            state="completed" if finished else "failed",
            why=result["why"],
            detail=result["detail"],
            attempt=attempts(self._ledger.trials[this.trial], result["why"]),
            score=result["rows"][-1]["val_macro_f1"] if finished else None,
            **_began(this),
            **_where(result),
        )


def _began(this: InFlight) -> dict[str, float]:
    """When its worker began with it: waiting for a worker is no training time."""
    return {} if this.started is None else {"started": this.started}


def _where(result: Mapping[str, Any]) -> dict[str, Any]:
    return {"node": result["node_ip"], "worker": result["pid"], "device": result["device"]}
