"""The searcher: hands Ray Tune the next trial of the study that is furthest behind, and writes the rows."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.search import Searcher

from tune_brain.config import Precision, RunConfig
from tune_brain.records import BASELINE, TrialRow
from tune_brain.search.ladder import Again, Step, Train, next_step
from tune_brain.search.ledger import Ledger
from tune_brain.search.sampler import suggest
from tune_brain.seeds import derive
from tune_brain.space import Space

LOST_IN_A_ROW = 6
"""So many trials lost with their workers, and none ended between, end a search: no worker can live."""
PATIENCE = 30.0
"""Seconds that a search waits, at its start, for a worker that is not up yet."""


class RowSearcher(Searcher):
    """What to train next is a pure function of the ledger's rows, the seed and which trials are live.

    Ray asks for trials ahead of its free slots; a suggestion made early would know less, so no more than
    `slots` trials are handed out at a time.

    Ray gives a trial whose worker is still starting to one that has just ended, and stops the new one:
    where trials are shorter than the start of a worker, most slots would never come up. So the trials of a
    search's start keep their workers until all of them are up (`may_leave`).
    """

    def __init__(
        self,
        config: RunConfig,
        spaces: Mapping[str, Space],
        ledger: Ledger,
        *,
        classes: int,
        precision: Mapping[str, Precision],
        slots: int,
        on_end: Callable[[TrialRow], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._config, self._spaces, self._ledger = config, spaces, ledger
        self._classes, self._precision, self._slots, self._on_end = classes, precision, slots, on_end
        self._clock = clock
        self._live: dict[str, int] = {}
        self.lost_in_a_row = 0
        self._handed_out = 0
        self._starting: dict[str, float] = {}
        self._deadline = clock() + config.time_budget if config.time_budget else None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's plain configuration, None while all must wait, or FINISHED."""
        if len(self._live) >= self._slots:
            return None
        late = self._deadline is not None and self._clock() > self._deadline
        for arch in () if late or self.lost_in_a_row >= LOST_IN_A_ROW else self._by_need():
            step = self._next(arch)
            if isinstance(step, Again | Train):
                return self._begin(trial_id, arch, step)
        return None if self._live else str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Epochs ended; the trial goes on, or has ended and waits to leave its worker."""
        self.is_up(trial_id)
        trial = self._live[trial_id]
        if self._ledger.trials[trial].state != "running":
            return
        for row in result["rows"]:
            self._ledger.epoch(trial, row)
        if not result["ended"] and not self._ledger.trials[trial].node:
            self._ledger.runs_on(trial, **_where(result))
        if result["ended"]:
            self.lost_in_a_row = 0
            self._on_end(self._end(trial, result))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The trial left its worker, or was lost with it."""
        if result is not None and not error:
            self.on_trial_result(trial_id, result)
        self._starting.pop(trial_id, None)
        trial = self._live.pop(trial_id)
        if self._ledger.trials[trial].state == "running":
            self.lost_in_a_row += 1
            self._on_end(self._ledger.end(trial, state="failed", why="lost", detail="its worker died"))

    def is_up(self, trial_id: str) -> None:
        """The worker of a trial has started."""
        self._starting.pop(trial_id, None)

    def may_leave(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        """Whether a trial gives its worker back: it has ended, and no first worker is still on its way."""
        waiting = any(self._clock() < since + PATIENCE for since in self._starting.values())
        return bool(result["ended"]) and not waiting

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the rows are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: the rows are the state."""

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune pickles the searcher into its experiment folder, from which nothing is ever read here.
        return {}

    def _by_need(self) -> list[str]:
        """The studies, furthest behind in epochs first; of equals the last named, which is the heaviest.

        What an interrupted driver left running does not count: it is chosen again as it was then.
        """
        archs, live = self._config.arch, self._live.values()

        def spent(arch: str) -> int:
            rows = self._ledger.of(arch)
            return sum(row.epochs for row in rows if row.state != "running" or row.trial in live)

        return sorted(archs, key=lambda arch: (spent(arch), -archs.index(arch)))

    def _next(self, arch: str) -> Step:
        return next_step(
            self._ledger.of(arch),
            self._config.ladder,
            self._config.configs,
            self._live.values(),
            self._config.final_round,
        )

    def _begin(self, trial_id: str, arch: str, step: Again | Train) -> dict[str, Any]:
        if isinstance(step, Again):
            row = step.row.model_copy(
                update={
                    "state": "running",
                    "why": None,
                    "detail": "",
                    "attempt": step.attempt,
                    "started": time.time(),
                    "node": "",
                    "worker": 0,
                }
            )
        else:
            row = TrialRow(
                trial=len(self._ledger.trials),
                arch=arch,
                configuration=step.configuration,
                epochs=step.epochs,
                repeat=step.repeat,
                values=self._values(arch, step.configuration),
                seed=self._seed(arch, step),
                state="running",
                started=time.time(),
            )
        self._ledger.start(row)
        self._live[trial_id] = row.trial
        if self._handed_out < self._slots:
            self._starting[trial_id] = self._clock()
        self._handed_out += 1
        trial = self._spaces[arch].trial(
            row.values,
            epochs=row.epochs,
            image_size=self._config.image_size,
            classes=self._classes,
            seed=row.seed,
            precision=self._precision[arch],
        )
        return {"number": row.trial, "trial": trial.model_dump()}

    def _values(self, arch: str, configuration: int) -> dict[str, float]:
        rows, space = self._ledger.of(arch), self._spaces[arch]
        if configuration == BASELINE:
            return space.baseline
        for row in rows:
            if row.configuration == configuration:
                return row.values
        config = self._config
        return suggest(
            rows, space, config.ladder, seed=config.seed, number=configuration, sampler=config.sampler
        )

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
            score=result["rows"][-1]["val_macro_f1"] if finished else None,
            **_where(result),
        )


def _where(result: Mapping[str, Any]) -> dict[str, Any]:
    return {"node": result["node_ip"], "worker": result["pid"], "device": result["device"]}
