"""Continue a search from its rows, on the same machines or others, as it was or extended."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tune_brain import compute, lock, runs
from tune_brain.runs import Run
from tune_brain.stages.common import UNCHANGED, rerun_hint, with_options
from tune_brain.stages.preconditions import check_search_is_open, unfinished
from tune_brain.text import quoted


def resume(folder: Path, given: Mapping[str, Any] = UNCHANGED) -> Path:
    """Continue a search where its rows end; a finished one trains nothing more.

    Args:
        folder: the run.
        given: the fields of `RunConfig` to change, of those that choose the machines.

    Returns:
        The run's folder.

    Raises:
        SealedTestError: something is left to train, but the run's test has been opened.
        RunFolderError: something is left to train, but the seed runs of the winners have begun; or another
            command writes to the run.
    """

    def changed(run: Run) -> Run:
        if unfinished(run):
            check_search_is_open(folder)
        return with_options(run, given)

    return continue_search(folder, changed)


def continue_search(folder: Path, change: Callable[[Run], Run]) -> Path:
    """Continue the search of a run after changing what it asks for; returns its folder.

    The run is locked from the beginning, so that a second command is refused before it has done anything.
    Ray starts while the remaining modules are imported and the images decoded.

    Args:
        folder: the run.
        change: returns the run to search in place of the one it is given, or raises.
    """
    # Before the lock, which creates a file: a folder without a run is refused and stays as it is.
    runs.open_run(folder)
    with lock.hold(folder), rerun_hint(folder, f"resume {quoted(folder)}"):
        run = change(runs.open_run(folder))
        with compute.session(run.config) as ray:
            from tune_brain.stages.search import search_on

            return search_on(run, ray)
