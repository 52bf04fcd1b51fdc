"""A warm start: a new search begins with the best configurations of an earlier one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path
from statistics import fmean

from tune_brain import runs
from tune_brain.config import RunConfig
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.winners import full_scores
from tune_brain.records import TrialRow, trials_of
from tune_brain.space import Space

FIRST = 5
"""So many configurations of an earlier search are tried first."""

Values = dict[str, float]


def spaces_to_search(config: RunConfig) -> dict[str, Space]:
    """The spaces that a new run will search, with what an earlier one found best to begin with.

    Raises:
        ConfigError: a space file is missing or breaks a rule.
        RunFolderError: the run's folder holds a run already, or the earlier one knows nothing that fits.
    """
    spaces = runs.spaces_for(config)
    return spaces if config.warm_start is None else warmed(spaces, config.warm_start)


def warmed(spaces: Mapping[str, Space], folder: Path) -> dict[str, Space]:
    """The spaces, each beginning with the best full-length configurations of a run that lie inside it.

    Those of its own architecture; where the run has none of it, of the others, the best of each first. Images
    may differ: what trains well on one set of pictures is a guess for another, and is tried like any other.

    Raises:
        RunFolderError: there is no such run, or none of its full-length configurations fits.
    """
    found = _best_of_each(folder)
    begun = {arch: beginning(space, found.get(arch) or _in_turn(found)) for arch, space in spaces.items()}
    if not any(space.first for space in begun.values()):
        raise RunFolderError(
            "A warm start needs full-length trials with values inside the ranges that are searched",
            found=f"none in {folder} for {', '.join(spaces)}",
            remedy="Name a run that has ended, or start without --warm-start.",
        )
    return begun


def beginning(space: Space, known: Iterable[Values]) -> Space:
    """The space, beginning with those of what is known, the best first, that lie inside it."""
    inside = (values for values in known if space.holds(values) and values != space.baseline)
    different = dict.fromkeys(tuple(values[name] for name in space.tuned) for values in inside)
    first = tuple(dict(zip(space.tuned, values, strict=True)) for values in islice(different, FIRST))
    return space.model_copy(update={"first": first})


def best_first(rows: Sequence[TrialRow], full_length: int) -> list[Values]:
    """The configurations of a study that have full-length scores, by the mean of these, the best first."""
    scores, values = full_scores(rows, full_length), {row.configuration: row.values for row in rows}
    return [values[number] for number in sorted(scores, key=lambda number: -fmean(scores[number]))]


def _best_of_each(folder: Path) -> dict[str, list[Values]]:
    run = runs.open_run(folder)
    rows = trials_of(folder)
    return {
        arch: best_first([row for row in rows if row.arch == arch], run.config.epochs)
        for arch in run.config.arch
    }


def _in_turn(found: Mapping[str, list[Values]]) -> Iterator[Values]:
    return (values for values in chain.from_iterable(zip_longest(*found.values())) if values is not None)
