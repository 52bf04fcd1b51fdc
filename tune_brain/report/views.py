"""The list of views of a run, each with its heading, the inputs it depends on and its template values."""

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
    """Its name in the navigation."""
    needs: frozenset[str]
    """Inputs that it depends on, as in `Reader.stamps`: `trials`, `epochs`, `files`, `running`."""
    title: Callable[[RunView], str]
    """Computes the heading."""
    values: Callable[[RunView, Sequence[RunView]], Values]
    """Computes the template values from the run and the runs it is compared with."""


_ROWS = frozenset({"trials", "epochs"})
VIEWS = (
    View("overview", "Overview", _ROWS | {"files", "running"}, findings.overview, search_views.overview),
    View(
        "progress",
        "Progress",
        frozenset({"trials", "files", "running"}),
        findings.progress,
        search_views.progress,
    ),
    View("ladder", "Ladder", _ROWS, findings.ladder, search_views.ladder),
    View(
        "parameters",
        "Parameters",
        frozenset({"trials", "files"}),
        findings.parameters,
        search_views.parameters,
    ),
    View("steps", "One-cycle", _ROWS | {"running"}, findings.steps, search_views.steps),
    View("machines", "Machines", _ROWS | {"running"}, findings.machines, search_views.machines),
    View("winners", "Winners", frozenset({"files"}), findings.winners, score_views.winners),
    View("compare", "Compare", _ROWS | {"files"}, lambda _: "", score_views.compare),
    View(
        "configurations",
        "Configurations",
        frozenset({"trials", "files", "running"}),
        findings.configurations,
        search_views.configurations,
    ),
)
