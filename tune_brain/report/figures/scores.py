"""Figures of the test scores: dots with intervals, confusion matrices, ROC and reliability curves."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tune_brain.records import TEST_PARTS
from tune_brain.report import style
from tune_brain.report.formatting import METRICS as METRIC_NAMES
from tune_brain.report.formatting import mean_count
from tune_brain.report.tables.scores import row_shares


def score_dots(scores: pd.DataFrame, metric: str, names: Mapping[tuple[str, str], str]) -> go.Figure:
    """One metric of every classifier with its interval, in the architectures' colours.

    The official test is hollow and stands above the unseen one, which is filled. Winners are circles, other
    classifiers diamonds.

    Args:
        scores: see `scores.scores`.
        metric: name of the metric.
        names: display name of each (classifier, role), from top to bottom.
    """
    figure = style.figure(height=84 + 40 * len(names))
    labels = zip(names, style.labels(list(names.values())), strict=True)
    bold = [f"<b>{label}</b>" if role == "winner" else label for (_, role), label in labels]
    heights = style.lanes(figure, list(names), bold)
    for part, shift in zip(TEST_PARTS, (0.16, -0.16), strict=True):
        lines = scores[(scores["metric"] == metric) & (scores["part"] == part)]
        # One trace per point, because plotly draws all error bars of a trace in one colour.
        for line in lines.to_dict("records"):
            key = (line["classifier"], line["role"])
            colour = style.arch(line["classifier"]) if line["role"] != "reference" else style.SOFT
            figure.add_scatter(
                name=part,
                x=[line["mean"]],
                y=[heights[key] + shift],
                error_x=style.error_bars([line["low"]], [line["mean"]], [line["high"]], colour),
                mode="markers",
                marker={
                    "size": 10,
                    "symbol": "circle" if line["role"] == "winner" else "diamond",
                    "color": colour if part == "unseen" else style.WHITE,
                    "line": {"color": colour, "width": 2},
                },
                customdata=[style.escaped(names[key])],
                hovertemplate=f"%{{customdata}}, {part} test: %{{x:.3f}}<extra></extra>",
            )
    figure.update_xaxes(title_text=METRIC_NAMES.get(metric, metric))
    return figure


def confusion(counts: Sequence[Sequence[float]], classes: Sequence[str]) -> go.Figure:
    """A confusion matrix, true classes down, predicted classes across; each cell has its count and row share.

    Args:
        counts: [C, C], one row per true class; means over seeds, so not necessarily whole numbers.
        classes: names of the C classes.
    """
    shares = row_shares(counts)
    places = list(range(len(classes)))
    texts = [
        [
            "" if np.isnan(shares[i, j]) else f"<b>{mean_count(counts[i][j])}</b><br>{shares[i, j]:.0%}"
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
            [f"true {style.escaped(true)}<br>predicted {style.escaped(predicted)}" for predicted in classes]
            for true in classes
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )
    for i in places:
        if np.isnan(shares[i, 0]):
            figure.add_annotation(x=(len(classes) - 1) / 2, y=i, text="no image", showarrow=False)
    labels = {"tickvals": places, "ticktext": style.labels(classes), "showgrid": False}
    figure.update_layout(plot_bgcolor=style.GRID)
    figure.update_xaxes(title_text="predicted", ticks="", autotickangles=[0, -30, -60, -90], **labels)
    figure.update_yaxes(title_text="true", ticks="", autorange="reversed", **labels)
    return figure


def roc(curves: Mapping[str, pd.DataFrame]) -> go.Figure:
    """ROC curves of one class against the others, one line per architecture.

    Args:
        curves: by architecture; see `predictions.roc`.
    """
    figure = _square("false positive rate", "true positive rate")
    for arch, curve in curves.items():
        if len(curve):
            figure.add_scatter(
                name=arch,
                x=curve["false_positive"].round(4).tolist(),
                y=curve["true_positive"].round(4).tolist(),
                mode="lines",
                line={"color": style.arch(arch), "dash": style.dash(arch), "width": 2},
                hovertemplate=f"{arch}: finds %{{y:.1%}} at %{{x:.1%}} false alarms<extra></extra>",
            )
    return figure


def reliability(curves: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Reliability diagram: accuracy by confidence. A calibrated classifier lies on the diagonal.

    Args:
        curves: by architecture; see `predictions.reliability`.
    """
    figure = _square("confidence", "accuracy")
    for arch, curve in curves.items():
        figure.add_scatter(
            name=arch,
            x=curve["confidence"].round(4).tolist(),
            y=curve["accuracy"].round(4).tolist(),
            mode="lines+markers",
            line={"color": style.arch(arch), "dash": style.dash(arch), "width": 2},
            customdata=curve["n"].tolist(),
            hovertemplate=f"{arch}: %{{y:.1%}} right at %{{x:.1%}} (n = %{{customdata}})<extra></extra>",
        )
    return figure


def _square(x: str, y: str) -> go.Figure:
    """An empty figure with both axes from 0 to 1 and a thin diagonal."""
    figure = style.figure(height=320)
    diagonal = {"color": style.SHORTER, "dash": "dot", "width": 1}
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, layer="below", line=diagonal)
    figure.update_xaxes(title_text=x, range=[-0.02, 1.02], tickformat=".0%")
    figure.update_yaxes(title_text=y, range=[-0.02, 1.02], tickformat=".0%")
    return figure
