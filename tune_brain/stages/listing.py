"""The runs of a folder, a line each, to find one among many."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tune_brain import lock, runs
from tune_brain.errors import TuneBrainError
from tune_brain.layout import RUN
from tune_brain.records import trials_of
from tune_brain.runs import Run
from tune_brain.search.state import state_of
from tune_brain.text import legible

_HEADINGS = ("run", "started", "images", "trials", "validation", "state")


def runs_in(folder: Path) -> list[Path]:
    """The runs directly in a folder, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{RUN}"))


def print_list(folders: list[Path]) -> None:
    """Print each run's start, images, completed trials, best winner and state, oldest first.

    A winner's score is the mean macro-F1 of its full-length trials on validation. Scores on the test are left
    out on purpose: a list of them would invite users to choose by the test.
    """
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right" if heading == "trials" else "left", overflow="fold")
    for _, cells in sorted(map(_line, folders)):
        table.add_row(*map(escape, cells))
    Console(highlight=False).print(table)


def _line(folder: Path) -> tuple[str, tuple[str, ...]]:
    """A run's start, to sort by, and its cells."""
    name = legible(folder.name)
    try:
        run, started = runs.open_run(folder), runs.read_record(folder).get("started", "")
        rows, writer = trials_of(folder), lock.holder(folder)
        state = state_of(run.config, rows, writer.command if writer else None)
        completed = sum(row.state == "completed" for row in rows)
        images = legible(run.config.data.name) if run.config.data else "demo"
        day = started.partition("T")[0] or "-"
        return started, (name, day, images, f"{completed:,}", _best(run), state)
    except (TuneBrainError, OSError) as error:
        why = error.rule if isinstance(error, TuneBrainError) else str(error.strerror)
        return "", (name, "-", "-", "-", "-", f"unreadable: {legible(why)}")


def _best(run: Run) -> str:
    """The winner with the best mean score over its full-length trials."""
    if not runs.has_winners(run.config):
        return "-"
    arch, best = max(runs.read_winners(run).items(), key=lambda item: item[1].mean_score)
    return f"{best.mean_score:.4f} {arch}"
