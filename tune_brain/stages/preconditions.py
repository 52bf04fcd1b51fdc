"""How far a run has got, by its rows and files: what is left to train, and whether that is still allowed."""

from pathlib import Path

from tune_brain.errors import ConfigError, RunFolderError, SealedTestError
from tune_brain.layout import RUN, SEAL, SEED_RUNS
from tune_brain.records import trials_of
from tune_brain.runs import Run
from tune_brain.search import ladder
from tune_brain.text import quoted


def unfinished(run: Run) -> list[str]:
    """The architectures whose study has something left to train, including one ended by a time budget."""
    return ladder.unfinished(trials_of(run.folder), run.config)


def check_ranges(run: Run) -> None:
    """Refuse spaces that lack a configuration of their rows: Optuna knows no values outside a range.

    Raises:
        ConfigError: a space file was narrowed by hand.
    """
    for row in trials_of(run.folder):
        space = run.spaces.get(row.arch)
        if space and not space.holds(row.values):
            raise ConfigError(
                "The ranges of a run must hold the configurations that it has trained",
                found=f"{run.folder / 'spaces' / row.arch}.toml without configuration {row.configuration}, "
                f"{row.values}",
                remedy="Restore the file; narrower ranges need a new run.",
            )


def check_search_has_ended(run: Run) -> None:
    """Refuse to use winners while the search is unfinished, such as those that an older copy brought back.

    Raises:
        RunFolderError: something is left to train, and no time budget may have ended the search.
    """
    if run.config.time_budget is None and unfinished(run):
        raise RunFolderError(
            "This search has not finished, so its winners are not final",
            found=f"trials left to train for {', '.join(unfinished(run))}",
            remedy=f"Finish it first with: tune-brain resume {quoted(run.folder)}",
        )


def check_search_is_open(folder: Path) -> None:
    """Refuse to continue or extend a search whose winners are final.

    Raises:
        SealedTestError: the run's test has been opened.
        RunFolderError: the seed runs of its winners have begun.
    """
    if (folder / SEAL).exists():
        raise SealedTestError(
            "The test has been opened, so this search can no longer be continued or extended: "
            "later choices would be informed by it",
            found=str(folder / SEAL),
            remedy=f"Start a new run: tune-brain search --config {quoted(folder / RUN)} --configs N",
        )
    if (folder / SEED_RUNS).exists():
        raise RunFolderError(
            "The seed runs of the winners have begun, so this search can no longer be continued",
            found=str(folder / SEED_RUNS),
            remedy="To discard those seed runs and continue the search, move that file aside.",
        )
