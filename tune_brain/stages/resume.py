"""A search that goes on: where its rows end, on these machines or others, or asked for more."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tune_brain import compute, lock, runs
from tune_brain.runs import Run
from tune_brain.stages.common import UNCHANGED, rerun_hint, with_options
from tune_brain.stages.preconditions import check_search_is_open, unfinished
from tune_brain.text import quoted


def resume(folder: Path, given: Mapping[str, Any] = UNCHANGED) -> Path:
    """Go on with a search where its rows end; one that has come to its end stays as it is.

    Args:
        folder: the run.
        given: the fields of `RunConfig` to change, of those that say on which machines it trains.

    Returns:
        The run's folder.

    Raises:
        SealedTestError: something is left to train, and the run's test has been opened.
        RunFolderError: the same, and its winners have been trained again; or another command writes to it.
    """

    def ask(run: Run) -> Run:
        if unfinished(run):
            check_search_is_open(folder)
        return with_options(run, given)

    return go_on(folder, ask)


def go_on(folder: Path, ask: Callable[[Run], Run]) -> Path:
    """Search on for what `ask` makes of a run; returns its folder.

    In its lock from the beginning, so that a second command is refused before it has done anything. Ray
    starts while the rest is imported and images are decoded.
    """
    # Before the lock, which is a file: this says what is wrong with a folder that is no run's.
    runs.open_run(folder)
    with lock.hold(folder), rerun_hint(folder, f"resume {quoted(folder)}"):
        run = ask(runs.open_run(folder))
        with compute.session(run.config) as ray:
            from tune_brain.stages.search import search_on

            return search_on(run, ray)
