"""Tables as figures. Names are escaped here, since plotly reads the texts of a figure as markup."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from tune_brain.report.tables import PARTS, row_shares

INK, SOFT, GRID = "#1d2733", "#5b6b7f", "#e7ebf0"
WINNER, FAILED = "#d9480f", "#b42318"
PART_COLOURS = {"official": "#8fa3b8", "unseen": "#1864ab"}
SHORTER = "#a9b4c0"
FULL = "#1864ab"
RUNGS = ([0.0, "#c9d6e3"], [0.5, "#7fb0dc"], [1.0, FULL])
SHADES = ([0.0, "#ffffff"], [0.5, "#a5c8ea"], [1.0, "#1864ab"])
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


def rung_colours(ladder: Sequence[int]) -> dict[int, str]:
    """A colour for each trial length: the longer, the darker."""
    places = [1.0] if len(ladder) == 1 else np.linspace(0, 1, len(ladder)).tolist()
    return dict(zip(ladder, sample_colorscale(list(RUNGS), places), strict=True))


def score_dots(scores: pd.DataFrame, metric: str, names: Mapping[tuple[str, str], str]) -> go.Figure:
    """One metric of every classifier with its interval, official beside unseen; winners are filled.

    Args:
        scores: see `tables.scores`.
        metric: which.
        names: what to call each (classifier, role), in order from the top.
    """
    figure = _figure(height=64 + 38 * len(names))
    heights = {key: len(names) - place for place, key in enumerate(names)}
    for part, shift in zip(PARTS, (0.15, -0.15), strict=True):
        lines = scores[(scores["metric"] == metric) & (scores["part"] == part)]
        keys = list(zip(lines["classifier"], lines["role"], strict=True))
        colour = PART_COLOURS[part]
        figure.add_scatter(
            name=part,
            x=lines["mean"].tolist(),
            y=[heights[key] + shift for key in keys],
            error_x={
                "symmetric": False,
                "array": (lines["high"] - lines["mean"]).tolist(),
                "arrayminus": (lines["mean"] - lines["low"]).tolist(),
                "thickness": 2,
                "width": 0,
                "color": colour,
            },
            mode="markers",
            marker={
                "size": 9,
                "color": [colour if role == "winner" else "#ffffff" for _, role in keys],
                "line": {"color": colour, "width": 2},
            },
            customdata=[
                f"{html.escape(names[key])}, {part}: {_interval(*values)}"
                for key, *values in zip(keys, lines["mean"], lines["low"], lines["high"], strict=True)
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
    figure.update_yaxes(
        tickvals=list(heights.values()),
        ticktext=[_label(html.escape(name), role) for (_, role), name in names.items()],
        range=[0.4, len(names) + 0.6],
        gridcolor="#ffffff",
    )
    return figure


def learning_curves(curves: pd.DataFrame, ladder: Sequence[int]) -> go.Figure:
    """Validation macro-F1 by epoch of one architecture's trials, a line each.

    A trace for each trial length, one for the baseline and one for the winner.

    Args:
        curves: see `tables.curves`.
        ladder: the trial lengths, in epochs.
    """
    figure = _figure(height=320)
    plain = ~curves["winner"] & ~curves["baseline"]
    for rung, colour in rung_colours(ladder).items():
        _add_lines(
            figure, curves[plain & (curves["epochs"] == rung)], f"{rung} epochs", color=colour, width=1.3
        )
    _add_lines(figure, curves[curves["baseline"] & ~curves["winner"]], "baseline", color=INK, dash="dot")
    _add_lines(figure, curves[curves["winner"]], "winner", color=WINNER, width=3.5)
    figure.update_xaxes(title=_title("epoch"), range=[0.7, ladder[-1] + 0.3], dtick=_step(ladder[-1]))
    figure.update_yaxes(title=_title("validation macro-F1"))
    return figure


def _add_lines(figure: go.Figure, curves: pd.DataFrame, name: str, **line: Any) -> None:
    """One trace of several trials, a gap between each two; none where there is no trial."""
    if curves.empty:
        return
    x: list[float | None] = []
    y: list[float | None] = []
    about: list[str] = []
    for trial, rows in curves.groupby("trial"):
        x += [*rows["epoch"].tolist(), None]
        y += [*rows["val_macro_f1"].round(5).tolist(), None]
        about += [f"trial {trial}, configuration {rows['configuration'].iloc[0]}"] * (len(rows) + 1)
    figure.add_scatter(
        name=name,
        x=x,
        y=y,
        mode="lines+markers",
        line={"width": 2, **line},
        marker={"size": 3 + line.get("width", 2)},
        customdata=about,
        hovertemplate="%{customdata}<br>epoch %{x}: %{y:.4f}<extra></extra>",
    )


def parameter_scores(trials: pd.DataFrame, name: str) -> go.Figure:
    """One tuned hyperparameter against the score of one architecture's trials.

    Full-length trials are blue, shorter ones grey, the baseline is a diamond, the winner orange; failed
    trials are crosses at the foot.

    Args:
        trials: see `tables.trials`.
        name: the hyperparameter.
    """
    values = trials["values"].map(lambda known: known.get(name, np.nan)).astype(float)
    table = trials.assign(value=values)[values.notna()]
    scored = table[table["score"].notna()]
    failed = table[table["state"] == "failed"]
    plain = ~scored["baseline"] & ~scored["winner"]
    foot = scored["score"].min() - 0.04 if len(scored) else 0.0
    figure = _figure(height=260)
    _add_dots(figure, scored[plain & ~scored["full"]], "shorter", color=SHORTER, size=7, opacity=0.75)
    _add_dots(figure, scored[plain & scored["full"]], "full length", color=FULL, size=9)
    _add_dots(figure, failed.assign(score=foot), "failed", color=FAILED, size=8, symbol="x-thin-open")
    baseline = scored[scored["baseline"] & ~scored["winner"]]
    _add_dots(figure, baseline, "baseline", color=INK, size=11, symbol="diamond")
    _add_dots(figure, scored[scored["winner"]], "winner", color=WINNER, size=13)
    figure.update_xaxes(
        title=_title(html.escape(name)), type="log" if _spans_decades(table["value"]) else "linear"
    )
    if figure.layout.xaxis.type == "log":
        figure.update_xaxes(exponentformat="power", dtick=1, tickfont={"size": 10})
    return figure


def _add_dots(figure: go.Figure, trials: pd.DataFrame, name: str, **marker: Any) -> None:
    """One trace of trials; none where there is none."""
    if trials.empty:
        return
    figure.add_scatter(
        name=name,
        x=trials["value"].tolist(),
        y=trials["score"].round(5).tolist(),
        mode="markers",
        marker={"line": {"color": "#ffffff", "width": 1}, **marker},
        customdata=[
            f"trial {line.trial}, configuration {line.configuration}, {line.epochs} epochs<br>"
            + (f"macro-F1 {line.score:.4f}" if line.state == "completed" else html.escape(str(line.why)))
            for line in trials.itertuples()
        ],
        hovertemplate="%{customdata}<br>%{x:.3g}<extra></extra>",
    )


def _spans_decades(values: pd.Series) -> bool:
    return bool(len(values) and values.min() > 0 and values.max() >= 10 * values.min())


def confusion(counts: Sequence[Sequence[float]], classes: Sequence[str]) -> go.Figure:
    """A confusion matrix, true classes down and predicted ones across: counts, over shares of their row.

    Args:
        counts: [C, C], rows true; means over seeds, so that they need not be whole.
        classes: C names.
    """
    shares = row_shares(counts)
    names = [html.escape(name) for name in classes]
    figure = _figure(height=130 + 46 * len(names))
    figure.add_heatmap(
        z=shares.tolist(),
        zmin=0,
        zmax=1,
        colorscale=list(SHADES),
        showscale=False,
        xgap=2,
        ygap=2,
        text=[
            [_cell(count, share) for count, share in zip(*row, strict=True)]
            for row in zip(counts, shares.tolist(), strict=True)
        ],
        texttemplate="%{text}",
        hovertemplate="true %{y}, predicted %{x}: %{text}<extra></extra>",
    )
    figure.update_layout(plot_bgcolor=GRID)
    places = list(range(len(names)))
    figure.update_xaxes(title=_title("predicted"), tickvals=places, ticktext=names, showgrid=False, ticks="")
    figure.update_yaxes(
        title=_title("true"), tickvals=places, ticktext=names, showgrid=False, autorange="reversed", ticks=""
    )
    return figure


def _cell(count: float, share: float) -> str:
    number = f"{count:.0f}" if float(count).is_integer() else f"{count:.1f}"
    return "" if np.isnan(share) else f"<b>{number}</b><br>{share:.0%}"


def _interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.3f}" if np.isnan(low) else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "standoff": 8}


def _label(name: str, role: str) -> str:
    return f"<b>{name}</b>" if role == "winner" else name


def _step(epochs: int) -> int:
    """Epochs between two ticks: about ten ticks at most."""
    return max(1, round(epochs / 10))


def _figure(height: int) -> go.Figure:
    axis = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": GRID,
        "ticks": "outside",
        "tickcolor": GRID,
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
            "hoverlabel": {"font": {"family": FONT}},
            "xaxis": axis,
            "yaxis": axis,
        }
    )
