"""How every figure looks: colours, letters, an empty figure to draw in."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

INK, SOFT, GRID, WHITE = "#1d2733", "#5b6b7f", "#e7ebf0", "#ffffff"
FULL, SHORTER, WINNER, FAILED = "#1864ab", "#a9b4c0", "#d9480f", "#b42318"
PARTS = {"official": "#8fa3b8", "unseen": "#1864ab"}
SHARES = ([0.0, WHITE], [0.5, "#a5c8ea"], [1.0, "#1864ab"])
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'

LONGEST = 18
"""Letters of a name that a figure shows."""


def rungs(ladder: Sequence[int]) -> dict[int, str]:
    """A colour for each trial length: the longer, the darker."""
    places = [1.0] if len(ladder) == 1 else np.linspace(0, 1, len(ladder)).tolist()
    scale = [[0.0, "#c9d6e3"], [0.5, "#7fb0dc"], [1.0, FULL]]
    return dict(zip(ladder, sample_colorscale(scale, places), strict=True))


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
        "fixedrange": True,
    }
    return go.Figure(
        layout={
            "template": "none",
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
            "font": {"family": FONT, "size": 12, "color": SOFT},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "showlegend": False,
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def decades(values: pd.Series) -> dict[str, Any]:
    """A logarithmic axis of whole decades where the values span one, else a plain axis."""
    if not len(values) or values.min() <= 0 or values.max() < 10 * values.min():
        return {"type": "linear"}
    ends = [np.floor(np.log10(values.min())) - 0.1, np.ceil(np.log10(values.max())) + 0.1]
    return {"type": "log", "range": ends, "dtick": 1, "exponentformat": "power", "tickfont": {"size": 10}}


def text(name: str) -> str:
    """A name for plotly, which reads markup: escaped, and cut where it would push the figure aside."""
    return html.escape(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")
