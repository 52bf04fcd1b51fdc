"""Warm start: a new search first tries the best configurations of an earlier one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path
from statistics import fmean

from tune_brain import runs
from tune_brain.config import RunConfig
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.winners import full_scores
from tune_brain.records import TrialRow, by_arch, trials_of
from tune_brain.space import Space

FIRST = 5
"""How many configurations of an earlier search are tried first."""

Values = dict[str, float]


def spaces_to_search(config: RunConfig) -> dict[str, Space]:
    """The spaces that a new run will search, with the first configurations of a warm start if it has one.

    Raises:
        ConfigError: a space file is missing or breaks a rule.
        RunFolderError: no configuration of the earlier run fits.
    """
    spaces = runs.spaces_for(config)
    return spaces if config.warm_start is None else warmed(spaces, config.warm_start)


def warmed(spaces: Mapping[str, Space], folder: Path) -> dict[str, Space]:
    """The spaces, each set to try first the best full-length configurations of a run that lie inside it.

    They are those of the space's own architecture or, where the run has none of it, those of the others in
    turn: the best of each, then the second best of each. The images of the two runs may differ: what trains
    well on one data set is only a guess for another, and competes like any other configuration.

    Raises:
        RunFolderError: there is no such run, or none of its full-length configurations fits.
    """
    ranked = _best_of_each(folder)
    warm = {
        arch: starting_with(space, ranked.get(arch) or _in_turn(ranked)) for arch, space in spaces.items()
    }
    if not any(space.first for space in warm.values()):
        raise RunFolderError(
            "The run named by --warm-start has no full-length trial inside the ranges to be searched",
            found=f"none in {folder} for {', '.join(spaces)}",
            remedy="Name a finished run, or start without --warm-start.",
        )
    return warm


def starting_with(space: Space, ranked: Iterable[Values]) -> Space:
    """The space, set to try first the best `FIRST` of these configurations that lie inside it.

    Args:
        space: the space.
        ranked: values of tuned hyperparameters, the best first.
    """
    inside = (values for values in ranked if space.holds(values) and values != space.baseline)
    different = dict.fromkeys(tuple(values[name] for name in space.tuned) for values in inside)
    first = tuple(dict(zip(space.tuned, values, strict=True)) for values in islice(different, FIRST))
    return space.model_copy(update={"first": first})


def best_first(rows: Sequence[TrialRow], full_length: int) -> list[Values]:
    """The configurations of a study that have full-length scores, ordered by their mean, the best first.

    Args:
        rows: the latest row of each trial of the study.
        full_length: epochs of a full-length trial.
    """
    scores, values = full_scores(rows, full_length), {row.configuration: row.values for row in rows}
    return [values[number] for number in sorted(scores, key=lambda number: -fmean(scores[number]))]


def _best_of_each(folder: Path) -> dict[str, list[Values]]:
    run = runs.open_run(folder)
    rows = by_arch(trials_of(folder), run.config.arch)
    return {arch: best_first(rows[arch], run.config.full_length) for arch in run.config.arch}


def _in_turn(ranked: Mapping[str, list[Values]]) -> Iterator[Values]:
    return (values for values in chain.from_iterable(zip_longest(*ranked.values())) if values is not None)
