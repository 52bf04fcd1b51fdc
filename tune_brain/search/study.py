"""A study: the trials of one architecture, with what is asked of them after each of thousands."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping

from tune_brain.records import BASELINE, TrialRow, Why

ATTEMPTS: Mapping[Why | None, int] = {"raised": 2, "memory": 2, "lost": 3}
"""How often a trial that ended so is started; others end for good. Who comes further begins to count
anew, and so does who runs out of memory for the first time."""
Trials = tuple[TrialRow, ...]
"""Of one configuration, its first seeds' trials by number."""
SAMPLER_LIMIT = 200
"""Ended configurations that a sampler is shown, at most: its time grows with them."""
BEST_SHOWN = 50
"""How many of those are the best: twice as many as TPE ever models as good (25)."""


class Study:
    """The latest row of each trial of one architecture.

    What is asked after every trial is counted and ranked as the rows come, since to look through all of them
    each time would slow a long search down. The rows alone decide: read again they give the same.
    """

    def __init__(self, rows: Iterable[TrialRow] = ()) -> None:
        self._rows: dict[int, TrialRow] = {}
        self._of: dict[int, Trials] = {}
        self._rungs = defaultdict[int, list[TrialRow]](list)
        self._ended: list[TrialRow] = []
        self._seconds, self._epochs = 0.0, 0
        self.unsettled: dict[int, TrialRow] = {}
        """By number, the trials that run, or failed and are tried again."""
        self.tried = set[int]()
        """The configurations that were sampled."""
        self.started = defaultdict[int, set[int]](set)
        """By length in epochs, the configurations that have a first seed's trial."""
        self.spent = 0
        """Epochs that all trials have trained or have under way."""
        self.cycles: dict[int, int | None] = {}
        """By length in epochs, of how many epochs the one-cycle is that its first trial begins."""
        self.best: dict[int, float] = {}
        """By length in epochs, the best score of first seeds: a further one is one more chance of luck."""
        for row in rows:
            self.take(row)

    @property
    def rows(self) -> list[TrialRow]:
        """The latest row of each trial, by number."""
        return list(self._rows.values())

    @property
    def running(self) -> list[TrialRow]:
        """Those of the trials that run, as far as the rows know."""
        # The screen's thread asks while the search's thread takes rows: the copy is made in one go.
        return [row for row in list(self.unsettled.values()) if row.state == "running"]

    @property
    def pace(self) -> float | None:
        """Seconds an epoch of the trials that ended well, None while none has."""
        return self._seconds / self._epochs if self._epochs else None

    def of(self, configuration: int) -> Trials:
        """The first seeds' trials of a configuration: the same object until one of them changes."""
        return self._of.get(configuration, ())

    @property
    def configurations(self) -> list[Trials]:
        """Those of all, by number."""
        return [self._of[number] for number in sorted(self._of)]

    def ranking(self, rung: int) -> list[TrialRow]:
        """The ended trials of the sampled configurations at a rung, best first; failed ones are the worst.

        The baseline is trained at the top alone and has no place in the rungs below.
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

    def take(self, row: TrialRow) -> None:
        """Hear of a trial: that it starts, where it runs, or how it ended. One that ended well stays so."""
        if row.trial not in self._rows:
            self.spent += row.epochs
            self.cycles.setdefault(row.epochs, row.cycle)
            self.tried |= {row.configuration} - {BASELINE}
        if not row.repeat:
            self._rank(row)
        self._rows[row.trial] = row
        self.unsettled.pop(row.trial, None)
        if row.state == "running" or is_tried_again(row):
            self.unsettled[row.trial] = row
        if row.score is not None:
            self._seconds += row.seconds
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
    """Keep ended trials sorted where one is another now, or has ended, or begins again."""
    if before and before.state != "running":
        del ranked[bisect_left(ranked, _place(before), key=_place)]
    if after.state != "running":
        insort(ranked, after, key=_place)


def is_tried_again(row: TrialRow) -> bool:
    """Whether a trial failed and will be started once more."""
    return row.state == "failed" and row.attempt < ATTEMPTS.get(row.why, 1)


def _place(row: TrialRow) -> tuple[bool, int, float, int, int]:
    """What sorts ended trials, best first: failed ones last, as TPE has it, then by length and by score."""
    return row.state == "failed", -row.epochs, -(row.score or 0.0), row.configuration, row.trial
