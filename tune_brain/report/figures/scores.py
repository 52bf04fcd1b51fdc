"""What the winners were worth, as figures."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tune_brain.records import TEST_PARTS
from tune_brain.report import style
from tune_brain.report.formatting import METRICS as METRIC_NAMES
from tune_brain.report.tables.scores import row_shares


def score_dots(scores: pd.DataFrame, metric: str, names: Mapping[tuple[str, str], str]) -> go.Figure:
    """One metric of every classifier with its interval, official above unseen, in architectures' colours.

    The unseen test is filled, the official one hollow; winners are circles, the others diamonds.

    Args:
        scores: see `scores.scores`.
        metric: which.
        names: what to call each (classifier, role), in order from the top.
    """
    figure = style.figure(height=84 + 40 * len(names))
    heights = {key: len(names) - place for place, key in enumerate(names)}
    for part, shift in zip(TEST_PARTS, (0.16, -0.16), strict=True):
        lines = scores[(scores["metric"] == metric) & (scores["part"] == part)]
        # A trace each, since plotly gives the bars of a trace one colour.
        for line in lines.to_dict("records"):
            key = (line["classifier"], line["role"])
            colour = style.arch(line["classifier"]) if line["role"] != "reference" else style.SOFT
            figure.add_scatter(
                name=part,
                x=[line["mean"]],
                y=[heights[key] + shift],
                error_x={
                    "symmetric": False,
                    "array": [line["high"] - line["mean"]],
                    "arrayminus": [line["mean"] - line["low"]],
                    "thickness": 2,
                    "width": 0,
                    "color": colour,
                },
                mode="markers",
                marker={
                    "size": 10,
                    "symbol": "circle" if line["role"] == "winner" else "diamond",
                    "color": colour if part == "unseen" else style.WHITE,
                    "line": {"color": colour, "width": 2},
                },
                customdata=[html.escape(names[key])],
                hovertemplate=f"%{{customdata}}, {part} test: %{{x:.3f}}<extra></extra>",
            )
    figure.update_xaxes(title_text=METRIC_NAMES.get(metric, metric))
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


def roc(curves: Mapping[str, pd.DataFrame]) -> go.Figure:
    """ROC curves of one class against the others, a line for each architecture.

    Args:
        curves: see `predictions.roc`, by architecture.
    """
    figure = _square("share of the others called so", "share of the class found")
    for arch, curve in curves.items():
        if len(curve):
            figure.add_scatter(
                name=arch,
                x=curve["false_positive"].round(4).tolist(),
                y=curve["true_positive"].round(4).tolist(),
                mode="lines",
                line={"color": style.arch(arch), "width": 2},
                hovertemplate=f"{arch}: finds %{{y:.1%}} at %{{x:.1%}} false alarms<extra></extra>",
            )
    return figure


def reliability(curves: Mapping[str, pd.DataFrame]) -> go.Figure:
    """How often the named class was right, by how sure the classifier was; on the dashed line it is honest.

    Args:
        curves: see `predictions.reliability`, by architecture.
    """
    figure = _square("confidence", "share that was right")
    for arch, curve in curves.items():
        figure.add_scatter(
            name=arch,
            x=curve["confidence"].round(4).tolist(),
            y=curve["accuracy"].round(4).tolist(),
            mode="lines+markers",
            line={"color": style.arch(arch), "width": 2},
            customdata=curve["n"].tolist(),
            hovertemplate=f"{arch}: %{{y:.1%}} right at %{{x:.1%}} (n = %{{customdata}})<extra></extra>",
        )
    return figure


def _square(x: str, y: str) -> go.Figure:
    """A figure of shares against shares, its diagonal dashed."""
    figure = style.figure(height=320)
    figure.add_shape(
        type="line", x0=0, y0=0, x1=1, y1=1, layer="below", line={"color": style.SHORTER, "dash": "dash"}
    )
    figure.update_xaxes(title_text=x, range=[-0.02, 1.02], tickformat=".0%")
    figure.update_yaxes(title_text=y, range=[-0.02, 1.02], tickformat=".0%")
    return figure
