"""Figures of the tuned hyperparameters: slices, parallel coordinates, pairs, importances."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tune_brain.report import formatting, style
from tune_brain.report.figures.ladder import special
from tune_brain.report.tables.parameters import GRID, placed, surface
from tune_brain.space import Range, Space


def slices(trials: pd.DataFrame, name: str, limits: Range) -> go.Figure:
    """Score of one architecture's trials against one tuned hyperparameter, over its whole range.

    Full-length trials stand out, shorter ones are grey, the baseline is a hollow diamond, the winner a star;
    failed trials are crosses along the bottom.

    Args:
        trials: see `studies.trials`.
        name: the hyperparameter.
        limits: the range that was searched.
    """
    table = _valued(trials, name)
    scored = table[table["score"].notna()]
    plain = ~scored["baseline"] & ~scored["winner"]
    bottom = scored["score"].min() - 0.04 if len(scored) else 0.0
    failed = table[table["state"] == "failed"].assign(score=bottom)
    figure = style.figure(height=260)
    for label, dots, fate in (
        ("shorter", scored[plain & ~scored["full"]], "left"),
        ("full length", scored[plain & scored["full"]], "full"),
        ("failed", failed, "failed"),
    ):
        style.trials(figure, dots, "value", "score", name=label, marker=style.FATES[fate].marker)
    special(figure, scored, "value")
    figure.update_xaxes(title_text=style.text(name), **_axis(limits))
    figure.update_yaxes(title_text="validation macro-F1")
    return figure


def _valued(trials: pd.DataFrame, name: str) -> pd.DataFrame:
    values = trials["values"].map(lambda by_name: by_name.get(name, np.nan)).astype(float)
    return trials.assign(value=values)[values.notna()]


def _axis(limits: Range) -> dict[str, Any]:
    """An axis over a range with a small margin, logarithmic if the range is."""
    if not limits.log:
        margin = 0.04 * (limits.high - limits.low)
        return {"type": "linear", "range": [limits.low - margin, limits.high + margin]}
    low, high = np.log10(limits.low), np.log10(limits.high)
    margin = 0.04 * (high - low)
    powers = {"dtick": 1, "exponentformat": "power", "tickfont": {"size": 10}} if high - low > 1 else {}
    return {"type": "log", "range": [low - margin, high + margin], **powers}


def parallel(trials: pd.DataFrame, space: Space) -> go.Figure:
    """Parallel coordinates: one line per scored trial of one architecture, over its ranges to its score.

    Full-length trials are drawn in the architecture's colour, shorter ones in grey, the winner thick.
    """
    scored = trials[trials["score"].notna()]
    places = placed(scored, space)
    low, high = scored["score"].min(), scored["score"].max()
    places["score"] = (scored["score"] - low) / (high - low) if high > low else 0.5
    figure = style.figure(height=330)
    colour = style.arch(space.arch)
    for name, chosen, line, opacity in (
        ("shorter", ~scored["full"], {"color": style.SHORTER, "width": 1}, 0.5),
        ("full length", scored["full"] & ~scored["winner"], {"color": colour, "width": 1.8}, 0.9),
        ("winner", scored["winner"], {"color": style.WINNER, "width": 3.5}, 1),
    ):
        lines = places[chosen]
        if lines.empty:
            continue
        count = len(places.columns)
        figure.add_scatter(
            name=name,
            x=[*range(count), None] * len(lines),
            y=[value for row in lines.round(4).to_numpy().tolist() for value in (*row, None)],
            mode="lines",
            line=line,
            opacity=opacity,
            customdata=[trial for trial in scored.loc[chosen, "trial"] for _ in range(count + 1)],
            meta="trials",
            hovertemplate="%{hovertext}<extra></extra>",
        )
    ends = {name: (f"{limits.low:g}", f"{limits.high:g}") for name, limits in space.tuned.items()}
    ends["score"] = (f"{low:.3f}", f"{high:.3f}")
    for place, (name, (bottom, top)) in enumerate(ends.items()):
        figure.add_shape(
            type="line",
            x0=place,
            x1=place,
            y0=0,
            y1=1,
            layer="below",
            line={"color": style.SHORTER, "width": 1},
        )
        for y, limit, anchor in ((0, bottom, "top"), (1, top, "bottom")):
            figure.add_annotation(
                x=place, y=y, text=limit, yanchor=anchor, showarrow=False, font={"size": 10}
            )
        label = "macro-F1" if name == "score" else style.text(name)
        figure.add_annotation(
            x=place, y=1.13, text=f"<b>{label}</b>", yanchor="bottom", showarrow=False, font={"size": 11}
        )
    figure.update_xaxes(visible=False, range=[-0.35, len(ends) - 0.65])
    figure.update_yaxes(visible=False, range=[-0.12, 1.28])
    return figure


def pair(trials: pd.DataFrame, space: Space, x: str, y: str) -> go.Figure:
    """Two tuned hyperparameters of one architecture: its trials over a surface of the full-length score.

    With fewer than `ENOUGH` full-length trials there is no surface. Shorter trials are grey.
    """
    figure = style.figure(height=300)
    scored = trials[trials["score"].notna()]
    full = scored[scored["full"]]
    smooth = surface(placed(full, space), full["score"], x, y)
    if smooth is not None:
        figure.add_contour(
            x=_ticks(space.tuned[x]),
            y=_ticks(space.tuned[y]),
            z=[[None if np.isnan(value) else round(value, 4) for value in row] for row in smooth.tolist()],
            colorscale=list(style.SHARES),
            contours={"coloring": "heatmap"},
            line={"color": style.GRID, "width": 1},
            showscale=False,
            hovertemplate="about %{z:.3f}<extra></extra>",
        )
    table = _valued(scored, x)
    table = table.assign(other=_valued(table, y)["value"])
    plain = ~table["winner"] & ~table["baseline"]
    for fate, dots in (("left", table[plain & ~table["full"]]), ("full", table[plain & table["full"]])):
        style.trials(figure, dots, "value", "other", name=fate, marker=style.FATES[fate].marker)
    special(figure, table.assign(score=table["other"]), "value")
    figure.update_xaxes(title_text=style.text(x), **_axis(space.tuned[x]))
    figure.update_yaxes(title_text=style.text(y), **_axis(space.tuned[y]))
    return figure


def _ticks(limits: Range) -> list[float]:
    ends = (limits.low, limits.high)
    ticks = np.geomspace(*ends, GRID) if limits.log else np.linspace(*ends, GRID)
    return [float(f"{tick:.5g}") for tick in ticks]


def importances(by_rung: Mapping[int, tuple[Mapping[str, float], int]], names: Sequence[str]) -> go.Figure:
    """Importance of each hyperparameter for the score, one bar per trial length with enough trials.

    Args:
        by_rung: by trial length, the importances by name and the number of trials they are computed from; at
            least one length has enough of them.
        names: the tuned hyperparameters.
    """
    known = {rung: estimate for rung, estimate in by_rung.items() if estimate[0]}
    figure = style.figure(height=70 + 22 * len(names) * len(known))
    opacities = style.opacities(list(known))
    for rung, (shares, n) in known.items():
        figure.add_bar(
            name=f"{formatting.epochs(rung)}, n = {n}",
            orientation="h",
            x=[round(shares[name], 4) for name in reversed(names)],
            y=style.labels(list(reversed(names))),
            marker={"color": style.FULL, "opacity": opacities[rung]},
            hovertemplate=f"{formatting.epochs(rung)}, {n} trials: %{{x:.0%}}<extra></extra>",
        )
    figure.update_xaxes(title_text="share of importance", tickformat=".0%", range=[0, 1])
    figure.update_yaxes(showgrid=False)
    return figure
