"""The ledger: a run's rows on disk and in memory, with one writer, so that the two never differ."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tune_brain.errors import RunFolderError
from tune_brain.files import writing_run
from tune_brain.layout import EPOCHS, RUN, TRIALS
from tune_brain.records import EpochRow, TrialRow, append, read
from tune_brain.search.study import Study


class Ledger:
    """Rows of all studies of a run: appended to disk first, then the latest of each trial kept in memory."""

    def __init__(self, run: Path | None) -> None:
        """Read the rows that the run has so far; without a run (as in a replay) keep rows in memory only."""
        self._run = run
        self._is_run = bool(run and (run / RUN).exists())
        self.trials: dict[int, TrialRow] = {}
        self.next_number = 0
        """The number of the next new trial."""
        self.trained = Counter[str]()
        """Epochs that trials have completed, by architecture."""
        self._studies = defaultdict[str, Study](Study)
        self._epochs_seen: set[tuple[int, int]] = set()
        if run:
            for row in read(run / TRIALS, TrialRow):
                self._keep(row)
            for epoch in read(run / EPOCHS, EpochRow):
                self._epochs_seen.add((epoch.trial, epoch.epoch))
                self.trained[epoch.arch] += epoch.trial in self.trials
                # A copy made while the search ran may have a trial's epochs and not yet its start. Its number
                # must not be used again: the epochs of another trial would be taken for known ones.
                self.next_number = max(self.next_number, epoch.trial + 1)

    def study(self, arch: str) -> Study:
        """The study of an architecture; empty before its first trial."""
        return self._studies[arch]

    def start(self, row: TrialRow) -> None:
        """Record that a trial starts, for the first time or again."""
        self._write(row)

    def amend(self, trial: int, **fields: Any) -> None:
        """Record more fields of a trial's current attempt."""
        self._write(self.trials[trial].model_copy(update=fields))

    def add_epochs(self, trial: int, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Record finished epochs; returns whether any of them is new.

        A restarted trial produces the same rows again (except on another number of threads, see
        `idle_slots`, or another kind of machine); the first ones are kept.
        """
        new = [metrics for metrics in rows if (trial, metrics["epoch"]) not in self._epochs_seen]
        if not self._run or not new:
            return False
        self._check_there()
        names = EpochRow.model_fields.keys() - {"trial", "arch"}
        arch = self.trials[trial].arch
        append(
            self._run / EPOCHS,
            *(EpochRow(trial=trial, arch=arch, **{name: metrics[name] for name in names}) for metrics in new),
        )
        self._epochs_seen |= {(trial, metrics["epoch"]) for metrics in new}
        self.trained[arch] += len(new)
        return True

    def end(self, trial: int, **fields: Any) -> TrialRow:
        """Record the end of a trial's attempt, and how long it took."""
        row = self.trials[trial].model_copy(update=fields)
        row = row.model_copy(update={"seconds": round(max(0.0, time.time() - row.started), 3)})
        self._write(row)
        return row

    def _write(self, row: TrialRow) -> None:
        if self._run:
            self._check_there()
            append(self._run / TRIALS, row)
        self._keep(row)

    def _check_there(self) -> None:
        # To test for the folder is not enough: a worker may have created it anew for a checkpoint.
        if not self._run or not self._is_run:
            return
        with writing_run(self._run):
            there = (self._run / RUN).exists()
        if not there:
            raise RunFolderError(
                "The run's folder was moved or deleted during the search",
                found=f"no run.toml in {self._run}",
                remedy="Finished trials are in the moved folder: `tune-brain resume` continues there.",
            )

    def _keep(self, row: TrialRow) -> None:
        self.trials[row.trial] = row
        self.next_number = max(self.next_number, row.trial + 1)
        self.study(row.arch).update(row)
