"""Seed runs: which ones a run needs, and which of them are trained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tune_brain.config import TrialConfig
from tune_brain.errors import RunFolderError
from tune_brain.layout import SEED_RUNS
from tune_brain.records import BASELINE, Role, SeedRow, read, seed_name
from tune_brain.runs import Run, Winner
from tune_brain.seeds import derive


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """One winner or baseline, to be trained with one seed."""

    role: Role
    index: int
    training: TrialConfig
    values: Mapping[str, float]

    @property
    def name(self) -> str:
        """The name under which its row, weights and predictions are stored."""
        return seed_name(self.role, self.training.arch, self.index)

    def weights(self, run: Path) -> Path:
        """The path of its weights file."""
        return run / "weights" / f"{self.name}.safetensors"


def plan(run: Run, winners: Mapping[str, Winner]) -> list[SeedRun]:
    """All seed runs of a run. A baseline that won its study is planned once, as the winner.

    None reuses the seed of a search trial: a winner's own seed is part of the reason why it won.
    """
    planned = []
    for arch, winner in winners.items():
        roles: dict[Role, Mapping[str, float]] = {"winner": winner.values}
        if winner.configuration != BASELINE:
            roles["baseline"] = run.spaces[arch].baseline
        for role, values in roles.items():
            for index in range(run.config.seeds):
                hyperparameters = run.spaces[arch].hyperparameters(values)
                seed = derive(run.config.seed, arch, role, "seed run", index)
                training = winner.training.model_copy(
                    update={"hyperparameters": hyperparameters, "seed": seed}
                )
                planned.append(SeedRun(role=role, index=index, training=training, values=values))
    return planned


def untrained(run: Run, runs: Sequence[SeedRun], rows: Iterable[SeedRow]) -> list[SeedRun]:
    """The seed runs whose row or weights are missing."""
    named = {row.name for row in rows}
    return [one for one in runs if one.name not in named or not one.weights(run.folder).exists()]


def evaluating(run: Run, winners: Mapping[str, Winner], rows: Iterable[SeedRow]) -> str:
    """How far an evaluation has got: `evaluating: n of m seed runs trained`."""
    runs = plan(run, winners)
    return f"evaluating: {len(runs) - len(untrained(run, runs, rows))} of {len(runs)} seed runs trained"


def check_rows(run: Run, runs: Sequence[SeedRun]) -> None:
    """Check that the stored rows of these seed runs belong to their configurations and seeds.

    Raises:
        RunFolderError: the winners have changed since a seed run was trained.
    """
    path = run.folder / SEED_RUNS
    rows = {row.name: row for row in read(path, SeedRow)}
    for seed_run in runs:
        row = rows.get(seed_run.name)
        if row and (row.seed, row.values) != (seed_run.training.seed, seed_run.values):
            raise RunFolderError(
                "Stored seed runs must belong to the current winners",
                found=f"{path} holds {seed_run.name} with seed {row.seed} and {row.values}",
                remedy="Move the file aside to train the seed runs again.",
            )


def rows_of(run: Run, runs: Sequence[SeedRun]) -> list[SeedRow]:
    """The latest rows of these seed runs.

    The file may hold further rows: of an abandoned evaluation with more seeds, and of networks that no longer
    exist. If a run is copied back without its weights, its seed runs are trained again, and on another
    processor they turn out differently.
    """
    names = {seed_run.name for seed_run in runs}
    latest = {row.name: row for row in read(run.folder / SEED_RUNS, SeedRow)}
    return [row for name, row in latest.items() if name in names]
