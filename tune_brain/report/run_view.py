"""A run's contents and the tables that its views share, each made when it is first asked for."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

import pandas as pd

from tune_brain.config import Frozen
from tune_brain.evaluate.predictions import Predictions, read_predictions
from tune_brain.records import EpochRow, TrialRow
from tune_brain.report.run_reader import Contents, Kind, VersionedCache
from tune_brain.report.tables import ladder, overtuning, pace, scores, studies


class RunView:
    """What the views of one run show, as far as the run has come."""

    def __init__(self, contents: Contents, memory: VersionedCache | None = None) -> None:
        """No table is made yet; a memory keeps the figures of architectures that have not changed."""
        self.contents = contents
        self._memory = memory or VersionedCache()
        self.config = contents.config
        self.name = contents.folder.resolve().name

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Every trial, and what became of it: see `studies.trials` and `ladder.fates`."""

        def make() -> pd.DataFrame:
            table = studies.trials(self.contents.trials, self.config)
            return table.join(ladder.fates(table, self.config.ladder))

        return self.kept("trials", make)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Every epoch: see `studies.curves`."""
        return studies.curves(self.contents.epochs, self.trials)

    @cached_property
    def ends(self) -> pd.DataFrame:
        """Every trial that ended well, in time: see `pace.ends`."""
        return pace.ends(self.trials, self.contents.epochs)

    @cached_property
    def studies(self) -> pd.DataFrame:
        """Every architecture: see `studies.studies`."""
        return self.kept("studies", lambda: studies.studies(self.trials, self.config))

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Every score: see `scores.scores`."""
        contents = self.contents
        return self.kept("scores", lambda: scores.scores(contents.scores, contents.comparisons))

    @cached_property
    def spent(self) -> dict[str, tuple[int, float]]:
        """What has been spent: see `pace.spent`."""
        return pace.spent(self.contents.trials, self.contents.epochs)

    def kept(self, name: str, make: Callable[[], Kind]) -> Kind:
        """What follows from the trials and the scores alone, made anew where they have changed."""
        contents = self.contents
        return self._memory.keep(name, (self.config, contents.rows, contents.scores), make)

    @cached_property
    def worth(self) -> pd.DataFrame:
        """What the search has gained: see `scores.worth`."""
        return scores.worth(self.scores, scores.retrained(self.contents.comparisons))

    @cached_property
    def expectations(self) -> pd.DataFrame:
        """What the winners promise: see `overtuning.expectations`."""
        contents = self.contents
        return self.kept(
            "expectations",
            lambda: overtuning.expectations(contents.trials, self.config, contents.comparisons),
        )

    @cached_property
    def images(self) -> pd.DataFrame:
        """How many images there are: see `scores.images`."""
        return scores.images(self.contents.record.get("data", {}))

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """Every attempt at a trial, to the last moment of which the rows know: see `pace.timeline`."""
        known = [row.started + row.seconds for row in self.contents.rows]
        running = self.trials[self.trials["state"] == "running"]
        epochs = self.curves.groupby("trial")["seconds"].sum()
        known += [line["started"] + epochs.get(line["trial"], 0.0) for line in running.to_dict("records")]
        return pace.timeline(self.contents.rows, max(known, default=0.0))

    @cached_property
    def predictions(self) -> Predictions | None:
        """Those for the test; None where predictions.npz is not here or nothing is scored yet."""
        path = self.contents.predictions
        return read_predictions(path) if path and self.contents.scores else None

    def figure(self, name: str, arch: str, make: Callable[[], Kind], *, epochs: bool = False) -> Kind:
        """A figure of one architecture, made anew where its trials changed, or epochs that it shows."""
        kinds = self._versions if epochs else self._versions[:1]
        version = [self.config, self.contents.spaces[arch], *(of_arch.get(arch) for of_arch in kinds)]
        return self._memory.keep((name, arch), version, make)

    @cached_property
    def _versions(self) -> list[dict[str, tuple[int, Frozen]]]:
        """By architecture how many rows of trials and of epochs there are, and the last of each."""
        return [_last(self.contents.rows), _last(self.contents.epochs)]

    def of(self, arch: str) -> pd.DataFrame:
        """The trials of one architecture."""
        return self.trials[self.trials["arch"] == arch]

    @property
    def leader(self) -> str | None:
        """The architecture whose winner so far has the best mean at full length on validation."""
        best = self.studies.set_index("arch")["best"].dropna()
        return str(best.idxmax()) if len(best) else None


def _last(rows: Sequence[TrialRow | EpochRow]) -> dict[str, tuple[int, Frozen]]:
    counts = Counter(row.arch for row in rows)
    last = {row.arch: row for row in rows}
    return {arch: (counts[arch], last[arch]) for arch in counts}
