"""Figures of the ladder view: scores by rung, and learning curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tune_brain.report import style
from tune_brain.report.formatting import epochs
from tune_brain.report.tables.ladder import cutoffs

DOTTED = 60
"""Up to this many trials, every epoch of a learning curve is marked with a dot."""


def climb(trials: pd.DataFrame, ladder: Sequence[int]) -> go.Figure:
    """Scores of one architecture's trials by rung: one line per configuration, cut-offs dashed.

    Args:
        trials: see `studies.trials`, joined with the columns of `ladder.fates`.
        ladder: the trial lengths, in epochs.
    """
    figure = style.figure(height=320)
    rungs = {rung: place for place, rung in enumerate(ladder)}
    scored = trials[trials["score"].notna()].assign(rung=trials["epochs"].map(rungs))
    x: list[float | None] = []
    y: list[float | None] = []
    for _, steps in (
        scored[~scored["baseline"] & (scored["repeat"] == 0)].sort_values("epochs").groupby("configuration")
    ):
        if len(steps) > 1:
            x += [*steps["rung"].tolist(), None]
            y += [*steps["score"].round(5).tolist(), None]
    colour = style.arch(trials["arch"].iloc[0])
    if x:
        figure.add_scatter(
            name="climb", x=x, y=y, mode="lines", hoverinfo="skip", line={"color": colour, "width": 1.5}
        )
    for line in cutoffs(trials, ladder).to_dict("records"):
        if not np.isnan(line["cutoff"]):
            place = rungs[line["epochs"]]
            figure.add_scatter(
                name="cut-off",
                x=[place - 0.25, place + 0.25],
                y=[round(line["cutoff"], 5)] * 2,
                mode="lines",
                line={"color": style.WINNER, "width": 2, "dash": "dash"},
                hovertemplate=f"cut-off now: %{{y:.4f}}, the best third of {line['n']}<extra></extra>",
            )
    plain = ~scored["winner"] & ~scored["baseline"]
    for fate, look in style.FATES.items():
        points = scored[plain & (scored["fate"] == fate)]
        style.trials(figure, points, "rung", "score", name=look.label, marker=look.marker)
    special(figure, scored, "rung")
    figure.update_xaxes(
        title_text="trial length (epochs)",
        tickvals=list(rungs.values()),
        ticktext=[str(rung) for rung in ladder],
        range=[-0.4, len(ladder) - 0.6],
        showgrid=False,
    )
    figure.update_yaxes(title_text="validation macro-F1")
    return figure


def special(figure: go.Figure, scored: pd.DataFrame, x: str) -> None:
    """Draw the untuned baseline and the winner on top of the other trials."""
    baseline = scored[scored["baseline"] & ~scored["winner"]]
    marker = {"color": style.WHITE, "size": 10, "symbol": "diamond", "line": {"color": style.INK, "width": 2}}
    style.trials(figure, baseline, x, "score", name="baseline", marker=marker)
    marker = {"color": style.WINNER, "size": 13, "symbol": "star"}
    style.trials(figure, scored[scored["winner"]], x, "score", name="winner", marker=marker)


def learning_curves(curves: pd.DataFrame, ladder: Sequence[int]) -> go.Figure:
    """Validation macro-F1 by epoch, one line per trial of one architecture.

    There is one trace per trial length, one for the baseline and one for the winner.

    Args:
        curves: see `studies.curves`.
        ladder: the trial lengths, in epochs.
    """
    figure = style.figure(height=320)
    plain = ~curves["winner"] & ~curves["baseline"]
    dots = "lines+markers" if curves["trial"].nunique() <= DOTTED else "lines"
    colour = style.arch(curves["arch"].iloc[0])
    for rung, opacity in style.opacities(ladder).items():
        lines = curves[plain & (curves["epochs"] == rung)]
        _add_lines(figure, lines, epochs(rung), dots, opacity, color=colour, width=1.3)
    baseline = curves[curves["baseline"] & ~curves["winner"]]
    _add_lines(figure, baseline, "baseline", dots, 1, color=style.INK, width=2, dash="dot")
    _add_lines(figure, curves[curves["winner"]], "winner", dots, 1, color=style.WINNER, width=3.5)
    every = max(1, round(ladder[-1] / 10))
    figure.update_xaxes(title_text="epoch", range=[0.7, ladder[-1] + 0.3], dtick=every)
    figure.update_yaxes(title_text="validation macro-F1")
    return figure


def _add_lines(
    figure: go.Figure, curves: pd.DataFrame, name: str, mode: str, opacity: float, **line: Any
) -> None:
    """Add one trace with the curves of several trials, separated by gaps; no trials add nothing."""
    if curves.empty:
        return
    x: list[float | None] = []
    y: list[float | None] = []
    numbers: list[int] = []
    for _, rows in curves.groupby("trial"):
        x += [*rows["epoch"].tolist(), None]
        y += [*rows["val_macro_f1"].round(4).tolist(), None]
        numbers += [int(rows["trial"].iloc[0])] * (len(rows) + 1)
    figure.add_scatter(
        name=name,
        x=x,
        y=y,
        mode=mode,
        opacity=opacity,
        line=line,
        marker={"size": 3 + line["width"]},
        customdata=numbers,
        meta="trials",
        hovertemplate="epoch %{x}: <b>%{y:.4f}</b><br>%{hovertext}<extra></extra>",
    )
