"""A study: the trials of one architecture, indexed so that each decision takes constant time or nearly so."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping

from tune_brain.records import BASELINE, TrialRow, Why

ATTEMPTS: Mapping[Why | None, int] = {"raised": 2, "memory": 2, "lost": 3}
"""How often a trial is started, by cause of failure; after other causes it is not started again. The count
restarts when a trial completes a new epoch, or first runs out of memory."""
Trials = tuple[TrialRow, ...]
"""The trials of one configuration that are not repeats with a further seed, by number."""
SAMPLER_LIMIT = 200
"""Ended configurations that a sampler is shown, at most: its time grows with them."""
BEST_SHOWN = 50
"""The best of them, always shown: twice as many as TPE ever models as good (25)."""


class Study:
    """The latest row of each trial of one architecture, with counts and rankings that follow from them.

    Counts and rankings are updated with each row, since scanning all rows after every trial would slow a
    long search down. The rows alone decide: reading them again, in order, gives the same study. Only `pace`
    needs more than the latest row of each trial.
    """

    def __init__(self, rows: Iterable[TrialRow] = ()) -> None:
        self._rows: dict[int, TrialRow] = {}
        self._of: dict[int, Trials] = {}
        self._rungs = defaultdict[int, list[TrialRow]](list)
        self._ended: list[TrialRow] = []
        self._seconds, self._epochs = 0.0, 0
        self._lost_seconds = defaultdict[int, float](float)
        self.unsettled: dict[int, TrialRow] = {}
        """By number, the trials that are running or will be retried."""
        self.tried = set[int]()
        """The configurations that have been sampled."""
        self.started = defaultdict[int, set[int]](set)
        """By length in epochs, the configurations that have a trial (repeats do not count)."""
        self.allotted = 0
        """Epochs of all trials that were started, whether or not they completed them."""
        self.best: dict[int, float] = {}
        """By length in epochs, the best score without repeats, each of which is one more chance of luck."""
        for row in rows:
            self.update(row)

    @property
    def rows(self) -> list[TrialRow]:
        """The latest row of each trial, by number."""
        return list(self._rows.values())

    @property
    def running(self) -> list[TrialRow]:
        """The trials that are running, as far as the rows know."""
        # The display's thread reads while the search's thread writes: `list` copies in one step.
        return [row for row in list(self.unsettled.values()) if row.state == "running"]

    @property
    def pace(self) -> float | None:
        """Seconds per epoch of the completed trials, failed attempts included; None before the first."""
        return self._seconds / self._epochs if self._epochs else None

    def of(self, configuration: int) -> Trials:
        """The trials of a configuration: the same object until one of them changes."""
        return self._of.get(configuration, ())

    @property
    def configurations(self) -> list[Trials]:
        """The trials of each configuration, by its number."""
        return [self._of[number] for number in sorted(self._of)]

    def ranking(self, rung: int) -> list[TrialRow]:
        """The ended trials of the sampled configurations at a rung, best first, failed ones last.

        The baseline is not among them: it is trained at full length only.
        """
        return self._rungs.get(rung, [])

    def for_sampler(self) -> list[Trials]:
        """The configurations that are shown to the sampler, by number.

        At most `SAMPLER_LIMIT` that have ended: the best, and an even sample of the others by rank, which
        keeps the shape of their density. Those that run are always among them.
        """
        if len(self._of) <= SAMPLER_LIMIT:
            return self.configurations
        best, others = self._ended[:BEST_SHOWN], self._ended[BEST_SHOWN:]
        room = SAMPLER_LIMIT - BEST_SHOWN
        if len(others) > room:
            others = [others[place * len(others) // room] for place in range(room)]
        kept = {row.configuration for row in (*best, *others, *self.running)}
        return [self._of[number] for number in sorted(kept & self._of.keys())]

    def update(self, row: TrialRow) -> None:
        """Take in a trial's new row: it started, runs somewhere, or ended."""
        before = self._rows.get(row.trial)
        if before is None:
            self.allotted += row.epochs
            self.tried |= {row.configuration} - {BASELINE}
        if not row.repeat:
            self._rank(row)
        self._rows[row.trial] = row
        self.unsettled.pop(row.trial, None)
        if row.state == "running" or is_tried_again(row):
            self.unsettled[row.trial] = row
        if row.state == "failed" and (before is None or before.state == "running"):
            self._lost_seconds[row.trial] += row.seconds
        if row.score is not None:
            self._seconds += row.seconds + self._lost_seconds.pop(row.trial, 0.0)
            self._epochs += row.epochs
            if not row.repeat:
                self.best[row.epochs] = max(row.score, self.best.get(row.epochs, row.score))

    def _rank(self, row: TrialRow) -> None:
        self.started[row.epochs].add(row.configuration)
        before = {old.trial: old for old in self._of.get(row.configuration, ())}
        after = {**before, row.trial: row}
        self._of[row.configuration] = tuple(after[trial] for trial in sorted(after))
        if row.configuration != BASELINE:
            _replace(self._rungs[row.epochs], before.get(row.trial), row)
        _replace(self._ended, before[max(before)] if before else None, after[max(after)])


def _replace(ranked: list[TrialRow], before: TrialRow | None, after: TrialRow) -> None:
    """Replace a trial's row in a list of ended trials that is sorted by `_place`."""
    if before and before.state != "running":
        del ranked[bisect_left(ranked, _place(before), key=_place)]
    if after.state != "running":
        insort(ranked, after, key=_place)


def is_tried_again(row: TrialRow) -> bool:
    """Whether a trial failed and will be retried."""
    return row.state == "failed" and row.attempt < ATTEMPTS.get(row.why, 1)


def attempts(row: TrialRow, why: Why, *, begun: bool = True, new_epochs: bool = False) -> int:
    """How many attempts a trial has had, as `ATTEMPTS` counts them, when one ends.

    Args:
        row: its row while it ran.
        why: why it ended.
        begun: whether a worker had begun with it; if not, this was no attempt.
        new_epochs: whether it completed an epoch that no earlier attempt had.
    """
    if not begun:
        return min(row.attempt, ATTEMPTS[why]) - 1
    if why == "lost" and new_epochs:
        return 0
    if why == "memory" and row.why != "memory" and row.attempt < ATTEMPTS["lost"]:
        # The first time; the next attempt gets more.
        return 1
    return row.attempt


def _place(row: TrialRow) -> tuple[bool, int, float, int, int]:
    """Sort key of ended trials: failed ones last, as in TPE, then the longest first, then the best."""
    return row.state == "failed", -row.epochs, -(row.score or 0.0), row.configuration, row.trial
