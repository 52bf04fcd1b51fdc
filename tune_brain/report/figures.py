"""Tables as figures. Every name in them is escaped, since plotly reads the texts of a figure as markup."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tune_brain.report import style
from tune_brain.report.tables import PARTS, row_shares


def score_dots(scores: pd.DataFrame, metric: str, names: Mapping[tuple[str, str], str]) -> go.Figure:
    """One metric of every classifier with its interval, official above unseen; winners are filled.

    Args:
        scores: see `tables.scores`.
        metric: which.
        names: what to call each (classifier, role), in order from the top.
    """
    figure = style.figure(height=64 + 38 * len(names))
    heights = {key: len(names) - place for place, key in enumerate(names)}
    for part, shift in zip(PARTS, (0.15, -0.15), strict=True):
        lines = scores[(scores["metric"] == metric) & (scores["part"] == part)]
        keys = list(zip(lines["classifier"], lines["role"], strict=True))
        colour = style.PARTS[part]
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
                "color": [colour if role == "winner" else style.WHITE for _, role in keys],
                "line": {"color": colour, "width": 2},
            },
            customdata=[html.escape(names[key]) for key in keys],
            hovertemplate=f"%{{customdata}}, {part} test: %{{x:.3f}}<extra></extra>",
        )
    figure.update_yaxes(
        tickvals=list(heights.values()),
        ticktext=[
            f"<b>{style.text(name)}</b>" if role == "winner" else style.text(name)
            for (_, role), name in names.items()
        ],
        range=[0.4, len(names) + 0.6],
        showgrid=False,
    )
    return figure


def learning_curves(curves: pd.DataFrame, ladder: Sequence[int]) -> go.Figure:
    """Validation macro-F1 by epoch of one architecture's trials, a line each.

    A trace for each trial length, one for the baseline and one for the winner.

    Args:
        curves: see `tables.curves`.
        ladder: the trial lengths, in epochs.
    """
    figure = style.figure(height=320)
    plain = ~curves["winner"] & ~curves["baseline"]
    for rung, colour in style.rungs(ladder).items():
        lines = curves[plain & (curves["epochs"] == rung)]
        _add_lines(figure, lines, f"{rung} epochs", color=colour, width=1.3)
    baseline = curves[curves["baseline"] & ~curves["winner"]]
    _add_lines(figure, baseline, "baseline", color=style.INK, width=2, dash="dot")
    _add_lines(figure, curves[curves["winner"]], "winner", color=style.WINNER, width=3.5)
    every = max(1, round(ladder[-1] / 10))
    figure.update_xaxes(title_text="epoch", range=[0.7, ladder[-1] + 0.3], dtick=every)
    figure.update_yaxes(title_text="validation macro-F1")
    return figure


def _add_lines(figure: go.Figure, curves: pd.DataFrame, name: str, **line: Any) -> None:
    """One trace of several trials, a gap after each; none where there is no trial."""
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
        line=line,
        marker={"size": 3 + line["width"]},
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
    plain = ~scored["baseline"] & ~scored["winner"]
    foot = scored["score"].min() - 0.04 if len(scored) else 0.0
    figure = style.figure(height=260)
    for label, dots, marker in (
        ("shorter", scored[plain & ~scored["full"]], {"color": style.SHORTER, "size": 7, "opacity": 0.75}),
        ("full length", scored[plain & scored["full"]], {"color": style.FULL, "size": 9}),
        (
            "failed",
            table[table["state"] == "failed"].assign(score=foot),
            {"color": style.FAILED, "size": 8, "symbol": "x-thin-open"},
        ),
        (
            "baseline",
            scored[scored["baseline"] & ~scored["winner"]],
            {"color": style.INK, "size": 11, "symbol": "diamond"},
        ),
        ("winner", scored[scored["winner"]], {"color": style.WINNER, "size": 13}),
    ):
        if len(dots):
            figure.add_scatter(
                name=label,
                x=dots["value"].tolist(),
                y=dots["score"].round(5).tolist(),
                mode="markers",
                marker={"line": {"color": style.WHITE, "width": 1}, **marker},
                customdata=[
                    f"trial {line['trial']}, configuration {line['configuration']}, {line['epochs']} epochs"
                    + (f", {html.escape(line['why'])}" if label == "failed" else f": {line['score']:.4f}")
                    for _, line in dots.iterrows()
                ],
                hovertemplate="%{customdata}<br>%{x:.3g}<extra></extra>",
            )
    figure.update_xaxes(title_text=style.text(name), **style.decades(table["value"]))
    return figure


def confusion(counts: Sequence[Sequence[float]], classes: Sequence[str]) -> go.Figure:
    """A confusion matrix, true classes down and predicted ones across: counts, over shares of their row.

    Args:
        counts: [C, C], rows true; means over seeds, so that they need not be whole.
        classes: C names.
    """
    shares = row_shares(counts)
    places = list(range(len(classes)))
    texts = [
        [
            "" if np.isnan(shares[i, j]) else f"<b>{_number(counts[i][j])}</b><br>{shares[i, j]:.0%}"
            for j in places
        ]
        for i in places
    ]
    figure = style.figure(height=130 + 46 * len(classes))
    figure.add_heatmap(
        z=shares.tolist(),
        zmin=0,
        zmax=1,
        colorscale=list(style.SHARES),
        showscale=False,
        xgap=2,
        ygap=2,
        text=texts,
        texttemplate="%{text}",
        customdata=[
            [f"true {html.escape(a)}<br>predicted {html.escape(b)}" for b in classes] for a in classes
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    for i in places:
        if np.isnan(shares[i, 0]):
            figure.add_annotation(x=(len(classes) - 1) / 2, y=i, text="no image", showarrow=False)
    labels = {"tickvals": places, "ticktext": [style.text(name) for name in classes], "showgrid": False}
    figure.update_layout(plot_bgcolor=style.GRID)
    figure.update_xaxes(title_text="predicted", ticks="", autotickangles=[0, -30, -60, -90], **labels)
    figure.update_yaxes(title_text="true", ticks="", autorange="reversed", **labels)
    return figure


def _number(count: float) -> str:
    return f"{count:.0f}" if float(count).is_integer() else f"{count:.1f}"
