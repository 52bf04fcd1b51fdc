"""The searcher: hands Ray Tune the next trial of the study that is furthest behind, and writes the rows."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ray.tune.search import Searcher

from tune_brain.config import Precision, RunConfig
from tune_brain.records import BASELINE, TrialRow
from tune_brain.search.ladder import Again, Step, Train, next_step
from tune_brain.search.ledger import Ledger
from tune_brain.search.sampler import suggest
from tune_brain.seeds import derive
from tune_brain.space import Space

Event = Literal["started", "epoch", "ended"]


class RowSearcher(Searcher):
    """What to train next is a pure function of the ledger's rows, the seed and which trials are live.

    Ray asks for trials ahead of its free slots; a suggestion made early would know less, so no more than
    `slots` trials are handed out at a time.
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
        on_event: Callable[[Event, TrialRow], None],
    ) -> None:
        super().__init__()
        self._config, self._spaces, self._ledger = config, spaces, ledger
        self._classes, self._precision, self._slots, self._on_event = classes, precision, slots, on_event
        self._live: dict[str, int] = {}
        self._deadline = time.monotonic() + config.time_budget if config.time_budget else None

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's plain configuration, None while all must wait, or FINISHED."""
        if len(self._live) >= self._slots:
            return None
        late = self._deadline is not None and time.monotonic() > self._deadline
        for arch in () if late else self._by_need():
            step = self._next(arch)
            if isinstance(step, Again | Train):
                return self._begin(trial_id, arch, step)
        return None if self._live else str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch ended that is not the trial's last."""
        trial = self._live[trial_id]
        self._ledger.epoch(trial, result)
        self._on_event("epoch", self._ledger.trials[trial])

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The trial ended: with its last epoch, as failed, or lost with its worker."""
        trial = self._live.pop(trial_id)
        if error or result is None:
            row = self._ledger.end(trial, state="failed", why="lost", detail="its worker died")
        else:
            row = self._end(trial, result)
        self._on_event("ended", row)

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

        Ray gives a trial that waits for its new worker to one that has just ended, and stops the new one:
        only trials that outlast the start of a worker let all slots come up, so the longest begin.
        """
        archs, live = self._config.arch, self._live.values()

        def spent(arch: str) -> int:
            rows = self._ledger.of(arch)
            return sum(row.epochs for row in rows if row.state != "running" or row.trial in live)

        return sorted(archs, key=lambda arch: (spent(arch), -archs.index(arch)))

    def _next(self, arch: str) -> Step:
        return next_step(
            self._ledger.of(arch), self._config.ladder, self._config.configs, self._live.values()
        )

    def _begin(self, trial_id: str, arch: str, step: Again | Train) -> dict[str, Any]:
        if isinstance(step, Again):
            row = step.row.model_copy(
                update={"state": "running", "why": None, "attempt": step.attempt, "started": time.time()}
            )
        else:
            row = TrialRow(
                trial=len(self._ledger.trials),
                arch=arch,
                configuration=step.configuration,
                epochs=step.epochs,
                values=self._values(arch, step.configuration),
                seed=derive(self._config.seed, arch, step.configuration, step.epochs),
                state="running",
                started=time.time(),
            )
        self._ledger.start(row)
        self._live[trial_id] = row.trial
        self._on_event("started", row)
        trial = self._spaces[arch].trial(
            row.values,
            epochs=row.epochs,
            image_size=self._config.image_size,
            classes=self._classes,
            seed=row.seed,
            precision=self._precision[arch],
        )
        return trial.model_dump()

    def _values(self, arch: str, configuration: int) -> dict[str, float]:
        rows, space = self._ledger.of(arch), self._spaces[arch]
        if configuration == BASELINE:
            return space.baseline
        for row in rows:
            if row.configuration == configuration:
                return row.values
        return suggest(rows, space, self._config.epochs, seed=self._config.seed, number=configuration)

    def _end(self, trial: int, result: Mapping[str, Any]) -> TrialRow:
        where = {"node": result["node_ip"], "worker": result["pid"], "device": result["device"]}
        if "why" in result:
            return self._ledger.end(
                trial, state="failed", why=result["why"], detail=result["detail"], **where
            )
        self._ledger.epoch(trial, result)
        return self._ledger.end(
            trial, state="completed", why="finished", detail="", score=result["val_macro_f1"], **where
        )
