"""The look shared by all figures: colours for light and dark screens, markers, dashes, fonts, labels."""

import html
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import plotly.graph_objects as go

Key = TypeVar("Key", bound=Hashable)

INK, SOFT, GRID, WHITE = "#1d2733", "#5b6b7f", "#e7ebf0", "#ffffff"
FULL, SHORTER, WINNER, FAILED = "#1864ab", "#8492a2", "#c9400c", "#b42318"

ARCHS = {"linear": "#ee6677", "cnn": "#228833", "resnet18": "#4477aa", "resnet34": "#aa3377"}
"""One colour per architecture, from a colour-blind safe scheme (Paul Tol's bright scheme, SRON 2021)."""

DASHES = {"linear": "2px,4px", "cnn": "9px,4px", "resnet18": "solid", "resnet34": "9px,4px,2px,4px"}
"""One dash per architecture, for lines that would otherwise differ by colour alone."""

WAYS = ("#7b8b9d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07a00", "#3a94cc")
"""One colour per replayed search strategy, grey for the reference strategy.

After Okabe and Ito (2008); the two lightest are darkened to a contrast of at least 3:1 on white.
"""


class Mark(NamedTuple):
    """A marker: plotly's name of it, a character that looks like it, and a number if others look the same."""

    symbol: str
    sign: str
    number: str = ""


RUNS = (
    Mark("circle", "●"),
    Mark("diamond", "◆"),
    Mark("square", "■"),
    Mark("triangle-up", "▲"),
    Mark("cross", "✚"),
    Mark("star", "★"),
)
"""The markers of runs in a comparison."""

NIGHT = {
    INK: "#e6ebf1",
    SOFT: "#9fb0c3",
    GRID: "#2b3643",
    WHITE: "#161c24",
    FULL: "#6cb0f0",
    SHORTER: "#6d7c8e",
    WINNER: "#ff9257",
    FAILED: "#ff8a7a",
    "#7b8b9d": "#93a3b5",
    "#a5c8ea": "#2f5f8f",
    "#0072b2": "#4da6dd",
    "#d55e00": "#f0883e",
    "#009e73": "#2fc59a",
    "#b07a00": "#e6b84a",
    "#3a94cc": "#a3d8f7",
    "#ee6677": "#f58897",
    "#228833": "#4dbb62",
    "#4477aa": "#7aa9dc",
    "#aa3377": "#d673ad",
}
"""Maps each colour to the one that replaces it in dark mode."""


class Fate(NamedTuple):
    """How a figure names and marks trials with one outcome."""

    label: str
    marker: dict[str, Any]


FATES = {
    "left": Fate("left", {"color": SHORTER, "size": 6}),
    "promoted": Fate("promoted", {"color": SOFT, "size": 7, "symbol": "triangle-up"}),
    "full": Fate("full length", {"color": INK, "size": 8}),
    "failed": Fate("failed", {"color": FAILED, "size": 8, "symbol": "x-thin-open"}),
}
"""Markers by outcome of a trial, in drawing order."""

LEGEND = {"showlegend": True, "legend": {"orientation": "h"}}
"""Layout of a figure with a legend, below it."""

SHARES = ([0.0, WHITE], [0.5, "#a5c8ea"], [1.0, FULL])
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'

LONGEST = 18
"""Characters after which a label is shortened."""


def arch(name: str) -> str:
    """Colour of an architecture; ink for anything else, such as the ensemble."""
    return ARCHS.get(name, INK)


def dash(name: str) -> str:
    """Dash of an architecture's lines; solid for anything else."""
    return DASHES.get(name, "solid")


def run(place: int) -> Mark:
    """Marker of the run at a place in a comparison, from 0; once all shapes are taken, with its number."""
    mark = RUNS[place % len(RUNS)]
    return mark if place < len(RUNS) else mark._replace(number=str(place + 1))


def opacities(ladder: Sequence[int]) -> dict[int, float]:
    """Opacity by trial length: longer trials are drawn stronger."""
    return dict(zip(ladder, np.linspace(0.35, 1, len(ladder)).tolist() if ladder[1:] else [1.0], strict=True))


def figure(height: int) -> go.Figure:
    """An empty figure of a height in pixels; its width follows its container."""
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


def lanes(figure: go.Figure, keys: Sequence[Key], labels: Sequence[str]) -> dict[Key, int]:
    """Divide a figure into lanes, top to bottom, with labels that must be escaped; returns their heights."""
    heights = {key: len(keys) - place for place, key in enumerate(keys)}
    figure.update_yaxes(
        tickvals=list(heights.values()),
        ticktext=list(labels),
        range=[0.4, len(keys) + 0.6],
        showgrid=False,
    )
    return heights


def error_bars(
    low: Iterable[float], mean: Iterable[float], high: Iterable[float], colour: str
) -> dict[str, Any]:
    """Error bars from `low` to `high`, without caps."""
    ends = [(above - at, at - below) for below, at, above in zip(low, mean, high, strict=True)]
    return {
        "symmetric": False,
        "array": [up for up, _ in ends],
        "arrayminus": [down for _, down in ends],
        "thickness": 2,
        "width": 0,
        "color": colour,
    }


def trials(figure: go.Figure, table: pd.DataFrame, x: str, y: str, **trace: Any) -> None:
    """Add a trace with one point per row of a table of trials; an empty table adds nothing.

    The page's script fills in each point's hover label from the trial's number.
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
    """A name for plotly, which interprets markup: escaped, and long ones shortened in the middle.

    Names of classes often differ at their end ("grade II", "grade III"), so both ends are kept.
    """
    if len(name) > LONGEST:
        head = (LONGEST - 1) // 2
        name = f"{name[:head]}…{name[head + 1 - LONGEST :]}"
    return escaped(name)


def escaped(text: str) -> str:
    """A text without markup for plotly, which decodes few entities: that of a quote it shows as it stands."""
    return html.escape(text, quote=False)


def labels(names: Sequence[str]) -> list[str]:
    """`text` of each name; different names that would look the same when shortened stay in full."""
    shortened = {name: text(name) for name in names}
    counts = Counter(shortened.values())
    return [escaped(name) if counts[shortened[name]] > 1 else shortened[name] for name in names]
