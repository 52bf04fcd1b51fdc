"""The views of a run: for each what stands over it, which files it reads, and the values of its template."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tune_brain.report import findings, score_views, search_views
from tune_brain.report.run_view import RunView

Values = dict[str, Any]


@dataclass(frozen=True)
class View:
    """One section of the page; its template is sections/<name>.html."""

    name: str
    label: str
    """What the navigation calls it."""
    needs: frozenset[str]
    """What it is made from: `trials`, `epochs` (rows), `files` (all others), `running`."""
    title: Callable[[RunView], str]
    values: Callable[[RunView, Sequence[RunView]], Values]


_ROWS = frozenset({"trials", "epochs"})
VIEWS = (
    View("overview", "Overview", _ROWS | {"files", "running"}, findings.overview, search_views.overview),
    View("progress", "Progress", frozenset({"trials"}), findings.progress, search_views.progress),
    View("ladder", "Ladder", _ROWS, findings.ladder, search_views.ladder),
    View(
        "parameters",
        "Parameters",
        frozenset({"trials", "files"}),
        findings.parameters,
        search_views.parameters,
    ),
    View("steps", "One-cycle", _ROWS, findings.steps, search_views.steps),
    View("machines", "Machines", _ROWS, findings.machines, search_views.machines),
    View("winners", "Winners", frozenset({"files"}), findings.winners, score_views.winners),
    View("compare", "Compare", frozenset({"trials", "files"}), lambda _: "", score_views.compare),
    View(
        "configurations",
        "Configurations",
        frozenset({"trials", "files"}),
        findings.configurations,
        search_views.configurations,
    ),
)
