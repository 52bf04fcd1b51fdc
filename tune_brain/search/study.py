"""A study: the trials of one architecture, with what is asked of them after each of thousands."""

from tune_brain.records import BASELINE, TrialRow
from tune_brain.search.ladder import is_tried_again


class Study:
    """The latest row of each trial of one architecture.

    What is asked after every trial is counted as the rows come, since to look through all of them each time
    would slow a long search down. The rows alone decide what is counted: read again they give the same.
    """

    def __init__(self) -> None:
        self._rows: dict[int, TrialRow] = {}
        self._seconds, self._epochs = 0.0, 0
        self.unsettled: dict[int, TrialRow] = {}
        """By number, the trials that run, or failed and are tried again."""
        self.tried = set[int]()
        """The configurations that were sampled."""
        self.spent = 0
        """Epochs that all trials have trained or have under way."""
        self.best: dict[int, float] = {}
        """By length in epochs, the best score of first seeds: a further one is one more chance of luck."""

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

    def take(self, row: TrialRow) -> None:
        """Hear of a trial: that it starts, where it runs, or how it ended. One that ended well stays so."""
        if row.trial not in self._rows:
            self.spent += row.epochs
            self.tried |= {row.configuration} - {BASELINE}
        self._rows[row.trial] = row
        self.unsettled.pop(row.trial, None)
        if row.state == "running" or is_tried_again(row):
            self.unsettled[row.trial] = row
        if row.score is not None:
            self._seconds += row.seconds
            self._epochs += row.epochs
            if not row.repeat:
                self.best[row.epochs] = max(row.score, self.best.get(row.epochs, row.score))
