"""The ledger: the rows of a run in memory and on disk, written by one hand."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tune_brain.errors import RunFolderError
from tune_brain.records import EpochRow, TrialRow, append, read, trials_of, writing
from tune_brain.search.study import Study


class Ledger:
    """Rows of all studies of a run: appended to disk first, then kept in memory, the latest of each trial."""

    def __init__(self, run: Path | None) -> None:
        """Read what an earlier start of the same run has left; without a run, keep trials in memory alone."""
        self._run = run
        self._is_run = bool(run and (run / "run.toml").exists())
        self.trials: dict[int, TrialRow] = {}
        self.next_number = 0
        """Of the next new trial."""
        self._studies = defaultdict[str, Study](Study)
        self._epochs_seen: set[tuple[int, int]] = set()
        if run:
            for row in trials_of(run):
                self._take(row)
            self._epochs_seen |= {(row.trial, row.epoch) for row in read(run / "epochs.jsonl", EpochRow)}

    def study(self, arch: str) -> Study:
        """That of an architecture, empty before its first trial."""
        return self._studies[arch]

    def start(self, row: TrialRow) -> None:
        """A trial starts, for the first time or again."""
        self._write(row)

    def amend(self, trial: int, **fields: Any) -> None:
        """More is known of a trial's present attempt: `fields` are those of its row."""
        self._write(self.trials[trial].model_copy(update=fields))

    def epochs(self, trial: int, ended: Sequence[Mapping[str, Any]]) -> bool:
        """Epochs ended; whether one of them did for the first time.

        A trial started again repeats its rows, since it is a pure function: kept once.
        """
        new = [metrics for metrics in ended if (trial, metrics["epoch"]) not in self._epochs_seen]
        if not self._run or not new:
            return False
        self._check_there()
        names = EpochRow.model_fields.keys() - {"trial", "arch"}
        known = {"trial": trial, "arch": self.trials[trial].arch}
        rows = [EpochRow(**known, **{name: metrics[name] for name in names}) for metrics in new]
        append(self._run / "epochs.jsonl", *rows)
        self._epochs_seen |= {(trial, row.epoch) for row in rows}
        return True

    def end(self, trial: int, **fields: Any) -> TrialRow:
        """A trial ended: `fields` are those of its row that its end decides."""
        before = self.trials[trial]
        row = before.model_copy(update={**fields, "seconds": round(time.time() - before.started, 3)})
        self._write(row)
        return row

    def _write(self, row: TrialRow) -> None:
        if self._run:
            self._check_there()
            append(self._run / "trials.jsonl", row)
        self._take(row)

    def _check_there(self) -> None:
        # A worker may have made the folder anew, for a checkpoint.
        if not self._run or not self._is_run:
            return
        with writing(self._run):
            there = (self._run / "run.toml").exists()
        if not there:
            raise RunFolderError(
                "A run's folder stays where it is while a search writes to it",
                found=f"no run.toml in {self._run}",
                remedy="What ended is kept in the folder that was moved: `tune-brain resume` goes on there.",
            )

    def _take(self, row: TrialRow) -> None:
        self.trials[row.trial] = row
        self.next_number = max(self.next_number, row.trial + 1)
        self.study(row.arch).take(row)
