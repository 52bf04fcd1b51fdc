"""How far an evaluation has got with its seed runs, by the rows of its run. Imports no heavy library."""

from collections.abc import Iterable, Sequence

from tune_brain.config import RunConfig
from tune_brain.evaluate.winners import choose
from tune_brain.records import BASELINE, Role, SeedRow, TrialRow, by_arch, seed_name
from tune_brain.search.ladder import unfinished


def evaluating(
    rows: Sequence[TrialRow], trained: Sequence[SeedRow], config: RunConfig, winners: Iterable[str]
) -> str:
    """`evaluating: n of m seed runs trained`, of a run that a command writes to; empty while it searches.

    A search is over once seed runs are trained, or once it has winners and nothing left to train. Only its
    time budget ends it otherwise, and then the first seed run shows it.

    Args:
        rows: the latest row of each trial of the run.
        trained: the rows of its seed runs.
        config: the run's configuration.
        winners: the architectures whose winner is written.
    """
    if not trained and (not any(winners) or unfinished(rows, config)):
        return ""
    planned = set(_planned(rows, config))
    done = planned & {row.name for row in trained}
    return f"evaluating: {len(done)} of {len(planned)} seed runs trained"


def _planned(rows: Sequence[TrialRow], config: RunConfig) -> Iterable[str]:
    """The names of the seed runs that `evaluate.retrain.plan` returns for the current winners."""
    for arch, study in by_arch(rows, config.arch).items():
        if choice := choose(study, config.epochs):
            roles: tuple[Role, ...] = ("winner", "baseline")
            for role in roles[:1] if choice.row.configuration == BASELINE else roles:
                yield from (seed_name(role, arch, index) for index in range(config.seeds))
