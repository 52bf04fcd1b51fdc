"""A run's contents and the tables that its views share, each computed on first use."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

import pandas as pd

from tune_brain.config import Frozen
from tune_brain.evaluate.predictions import Predictions, read_predictions
from tune_brain.evaluate.seed_runs import evaluating
from tune_brain.records import EpochRow, TrialRow
from tune_brain.report.run_reader import Contents, Kind, VersionedCache
from tune_brain.report.tables import expectations, ladder, pace, scores, studies
from tune_brain.runs import Run
from tune_brain.search.state import RunState, state_of


class RunView:
    """The state of one run, as the views show it."""

    def __init__(self, contents: Contents, cache: VersionedCache | None = None) -> None:
        """Compute nothing yet.

        Args:
            contents: the content of the run's files.
            cache: keeps tables and figures whose rows have not changed, across reads of the same run.
        """
        self.contents = contents
        self._cache = cache or VersionedCache()
        self.config = contents.config
        self.name = contents.folder.resolve().name

    @cached_property
    def trials(self) -> pd.DataFrame:
        """All trials with their outcomes: see `studies.trials` and `ladder.fates`."""

        def make() -> pd.DataFrame:
            table = self._interrupted(studies.trials(self.contents.trials, self.config))
            starts = ladder.first_starts(self.contents.rows)
            return table.join(ladder.fates(table, self.config.ladder, starts))

        return self.cached("trials", make)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """All epochs: see `studies.curves`."""
        return studies.curves(self.contents.epochs, self.trials)

    @cached_property
    def ends(self) -> pd.DataFrame:
        """Completed trials in the order in which they ended: see `pace.ends`."""
        return pace.ends(self.trials, self.contents.epochs)

    @cached_property
    def studies(self) -> pd.DataFrame:
        """One line per architecture: see `studies.studies`."""
        return self.cached("studies", lambda: studies.studies(self.trials, self.config))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """All test scores: see `scores.scores`."""
        contents = self.contents
        return self.cached("scores", lambda: scores.scores(contents.tested, contents.comparisons))

    @cached_property
    def spent(self) -> dict[str, tuple[int, float]]:
        """Epochs and seconds spent by architecture: see `pace.spent`."""
        return pace.spent(self.contents.trials, self.contents.epochs)

    def cached(self, name: str, make: Callable[[], Kind]) -> Kind:
        """A value that depends on trials, scores and the running search, recomputed if they change."""
        contents = self.contents
        return self._cache.get(name, (self.config, contents.rows, contents.scores, self._began), make)

    @cached_property
    def state(self) -> RunState:
        """Where the run stands: see `state_of`."""
        writer = self.contents.writer
        return state_of(self.config, self.contents.trials, writer and writer.command)

    @property
    def searching(self) -> bool:
        """Whether a command searches: otherwise no trial runs, whatever its last row says."""
        return self.state == "searching"

    @property
    def _began(self) -> float:
        """Unix time at which the running search was started or resumed; infinite if none runs."""
        writer = self.contents.writer
        return writer.since if writer and self.searching else math.inf

    @property
    def evaluating(self) -> str:
        """How many seed runs are trained: see `seed_runs.evaluating`."""
        contents = self.contents
        return evaluating(Run(self.config, contents.spaces), contents.winners, contents.seed_runs)

    @cached_property
    def worth(self) -> pd.DataFrame:
        """What tuning has gained: see `scores.worth`."""
        return scores.worth(self.scores, scores.retrained(self.contents.comparisons))

    @cached_property
    def expectations(self) -> pd.DataFrame:
        """Promised gains and expected scores of the winners: see `expectations.expectations`."""
        contents = self.contents
        return self.cached(
            "expectations",
            lambda: expectations.expectations(contents.trials, self.config, contents.comparisons),
        )

    @cached_property
    def images(self) -> pd.DataFrame:
        """Numbers of images by class and part: see `scores.images`."""
        return scores.images(self.contents.record.get("data", {}))

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """All attempts at trials, up to the latest time in the rows: see `pace.timeline`."""
        times = [row.started + row.seconds for row in self.contents.rows]
        running = self.trials[~self.trials["state"].isin(studies.ENDED)]
        epochs = self.curves.groupby("trial")["seconds"].sum()
        times += [line["started"] + epochs.get(line["trial"], 0.0) for line in running.to_dict("records")]
        resumed = self.contents.record.get("resumed", [])
        return self._interrupted(pace.timeline(self.contents.rows, max(times, default=0.0), resumed))

    def _interrupted(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table in which trials that no command trains any more were interrupted."""
        dead = (table["state"] == "running") & (table["started"] < self._began)
        return table.assign(state=table["state"].mask(dead, "interrupted"))

    @cached_property
    def predictions(self) -> Predictions | None:
        """Predictions for the test; None if predictions.npz is missing or nothing is scored yet."""
        path = self.contents.predictions
        return read_predictions(path) if path and self.contents.scores else None

    def figure(self, name: str, arch: str, make: Callable[[], Kind], *, epochs: bool = False) -> Kind:
        """A figure of one architecture, redrawn when its rows have changed.

        Args:
            name: the figure's name.
            arch: the architecture.
            make: draws the figure.
            epochs: whether it shows epoch rows, not trial rows alone.
        """
        kinds = self._versions if epochs else self._versions[:1]
        version = [self.config, self.contents.spaces[arch], *(by_arch.get(arch) for by_arch in kinds)]
        return self._cache.get((name, arch), version, make)

    @cached_property
    def _versions(self) -> list[dict[str, tuple[int, Frozen]]]:
        """By architecture, the number of trial rows and of epoch rows, each with the last row."""
        return [_last(self.contents.rows), _last(self.contents.epochs)]

    def of(self, arch: str) -> pd.DataFrame:
        """The trials of one architecture."""
        return self.trials[self.trials["arch"] == arch]

    @property
    def leader(self) -> str | None:
        """The architecture whose current winner has the best mean full-length score on validation."""
        best = self.studies.set_index("arch")["best"].dropna()
        return str(best.idxmax()) if len(best) else None


def _last(rows: Sequence[TrialRow | EpochRow]) -> dict[str, tuple[int, Frozen]]:
    counts = Counter(row.arch for row in rows)
    last = {row.arch: row for row in rows}
    return {arch: (counts[arch], last[arch]) for arch in counts}
