"""How far an evaluation has got with its seed runs."""

from collections.abc import Iterable, Mapping

from tune_brain.records import BASELINE, SeedRow, seed_name


def evaluating(trained: Iterable[SeedRow], configurations: Mapping[str, int], seeds: int) -> str:
    """`evaluating: n of m seed runs trained`.

    Args:
        trained: the rows of the run's seed runs.
        configurations: the winner's configuration, by architecture.
        seeds: how often each winner and each baseline is trained.
    """
    planned = {
        seed_name(role, arch, index)
        for arch, configuration in configurations.items()
        for role in ("winner", "baseline")
        # A baseline that won is trained as the winner only.
        if role == "winner" or configuration != BASELINE
        for index in range(seeds)
    }
    return f"evaluating: {len(planned & {row.name for row in trained})} of {len(planned)} seed runs trained"
