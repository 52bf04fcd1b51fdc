"""How every figure looks: colours by day and by night, marks, letters, an empty figure to draw in."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

INK, SOFT, GRID, WHITE = "#1d2733", "#5b6b7f", "#e7ebf0", "#ffffff"
FULL, SHORTER, WINNER, FAILED = "#1864ab", "#a9b4c0", "#d9480f", "#b42318"

ARCHS = {"linear": "#ee6677", "cnn": "#228833", "resnet18": "#4477aa", "resnet34": "#aa3377"}
"""A colour for each architecture, told apart by the colour-blind (Paul Tol's bright scheme, SRON 2021)."""

WAYS = ("#7b8b9d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""A colour for each way to search that is replayed, grey for the yardstick (Okabe and Ito, 2008)."""

RUNS = ("circle", "diamond", "square", "triangle-up", "cross", "star")
"""A mark for each run that is compared."""

NIGHT = {
    INK: "#e6ebf1",
    SOFT: "#9fb0c3",
    GRID: "#2b3643",
    WHITE: "#161c24",
    FULL: "#6cb0f0",
    SHORTER: "#5a6878",
    WINNER: "#ff9257",
    FAILED: "#ff8a7a",
    "#7b8b9d": "#93a3b5",
    "#a5c8ea": "#2f5f8f",
    "#0072b2": "#4da6dd",
    "#d55e00": "#f0883e",
    "#009e73": "#2fc59a",
    "#ee6677": "#f58897",
    "#228833": "#4dbb62",
    "#4477aa": "#7aa9dc",
    "#aa3377": "#d673ad",
}
"""What a page puts in place of each colour where the reader's screen is dark."""

FATES: dict[str, dict[str, Any]] = {
    "left": {"color": SHORTER, "size": 6},
    "promoted": {"color": "#7b8b9d", "size": 7, "symbol": "triangle-up"},
    "full": {"color": INK, "size": 8},
    "failed": {"color": FAILED, "size": 8, "symbol": "x-thin-open"},
}
"""Marks of what became of a trial, in the order in which they are drawn."""
FATE_NAMES = {"left": "left", "promoted": "promoted", "full": "full length", "failed": "failed"}

SHARES = ([0.0, WHITE], [0.5, "#a5c8ea"], [1.0, FULL])
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'

LONGEST = 18
"""Letters of a name that a figure shows."""


def arch(name: str) -> str:
    """The colour of an architecture; ink for what is none."""
    return ARCHS.get(name, INK)


def opacities(ladder: Sequence[int]) -> dict[int, float]:
    """How strongly each trial length is drawn: the longer, the more."""
    return dict(zip(ladder, np.linspace(0.35, 1, len(ladder)).tolist() if ladder[1:] else [1.0], strict=True))


def figure(height: int) -> go.Figure:
    """An empty figure, so many pixels high and as wide as its place."""
    axis = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "tickcolor": GRID,
        "ticks": "outside",
        "title": {"standoff": 8},
        "zeroline": False,
        "automargin": True,
    }
    return go.Figure(
        layout={
            "template": "none",
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
            "font": {"family": FONT, "size": 12, "color": SOFT},
            "hoverlabel": {"bgcolor": WHITE, "bordercolor": SHORTER, "font": {"color": INK}, "align": "left"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "showlegend": False,
            "hovermode": "closest",
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def trials(figure: go.Figure, table: pd.DataFrame, x: str, y: str, **trace: Any) -> None:
    """Add a trace with a point for each line of a table of trials; none where it is empty.

    The page writes into each point's label what it knows of the trial with that number.
    """
    if table.empty:
        return
    figure.add_scatter(
        x=table[x].astype(float).round(6).tolist(),
        y=table[y].astype(float).round(5).tolist(),
        customdata=table["trial"].tolist(),
        meta="trials",
        hovertemplate="%{hovertext}<extra></extra>",
        **{"mode": "markers", **trace},
    )


def text(name: str) -> str:
    """A name for plotly, which reads markup: escaped, and cut where it would push the figure aside."""
    return html.escape(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")
