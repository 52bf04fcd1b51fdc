"""A warm start: a new search begins with the best configurations of an earlier one."""

from collections.abc import Iterator, Mapping
from itertools import chain, zip_longest
from pathlib import Path
from statistics import fmean

from tune_brain import runs
from tune_brain.config import RunConfig
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.winners import full_scores
from tune_brain.records import TrialRow, latest, read
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
    found = _best_first(folder)
    first = {}
    for arch, space in spaces.items():
        known = found.get(arch) or _in_turn(found)
        fitting = [values for values in known if space.holds(values) and values != space.baseline]
        first[arch] = [values for place, values in enumerate(fitting) if values not in fitting[:place]][
            :FIRST
        ]
    if not any(first.values()):
        raise RunFolderError(
            "A warm start needs full-length trials with values inside the ranges that are searched",
            found=f"none in {folder} for {', '.join(spaces)}",
            remedy="Name a run that has ended, or start without --warm-start.",
        )
    return {arch: space.model_copy(update={"first": tuple(first[arch])}) for arch, space in spaces.items()}


def _best_first(folder: Path) -> dict[str, list[Values]]:
    """By architecture the configurations with full-length scores, the best first."""
    run = runs.open_run(folder)
    rows = latest(read(folder / "trials.jsonl", TrialRow))
    found = {}
    for arch in run.config.arch:
        own = [row for row in rows if row.arch == arch]
        scores = full_scores(own, run.config.epochs)
        values = {row.configuration: row.values for row in own}
        found[arch] = [values[number] for number in sorted(scores, key=lambda number: -fmean(scores[number]))]
    return found


def _in_turn(found: Mapping[str, list[Values]]) -> Iterator[Values]:
    return (values for values in chain.from_iterable(zip_longest(*found.values())) if values is not None)
