"""How far a run is, from its rows and files: what is left to train, and whether that may still be trained."""

from pathlib import Path

from tune_brain.errors import RunFolderError, SealedTestError
from tune_brain.records import trials_of
from tune_brain.runs import Run
from tune_brain.search import ladder
from tune_brain.text import quoted


def unfinished(run: Run) -> list[str]:
    """The architectures whose study has something left to train, be it that its time was up."""
    return ladder.unfinished(trials_of(run.folder), run.config)


def was_cut_short(run: Run) -> bool:
    """Whether a search has neither come to its end nor, as far as it is known, to that of its time."""
    return run.config.time_budget is None and bool(unfinished(run))


def check_search_has_ended(run: Run) -> None:
    """Refuse winners that an earlier search has left, as where a folder comes back from an older copy.

    Raises:
        RunFolderError: something is left to train, and no time budget that may have ended the search.
    """
    if was_cut_short(run):
        raise RunFolderError(
            "Winners stand when the search has ended",
            found=f"more to train of {', '.join(unfinished(run))}",
            remedy=f"End it first: tune-brain resume {quoted(run.folder)}",
        )


def check_search_is_open(folder: Path) -> None:
    """Refuse to search on once the winners stand for good.

    Raises:
        SealedTestError: the run's test has been opened.
        RunFolderError: its winners have been trained again.
    """
    if (folder / "sealed.json").exists():
        raise SealedTestError(
            "A search goes on before its test is opened, since what follows would be chosen knowing it",
            found=f"{folder} has its scores",
            remedy=f"Start a new run: tune-brain search --config {quoted(folder / 'run.toml')} --configs N",
        )
    if (folder / "seed_runs.jsonl").exists():
        raise RunFolderError(
            "A search goes on before its winners are trained again, since it may find others",
            found=f"{folder / 'seed_runs.jsonl'}",
            remedy="Move it aside to give those seed runs up, and go on then.",
        )
