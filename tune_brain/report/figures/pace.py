"""Figures of the search over time: the best score so far, and a timeline of the slots."""

import pandas as pd
import plotly.graph_objects as go

from tune_brain.report import style
from tune_brain.report.figures.ladder import special

UNITS = ((3.0, "hours", 1.0), (0.05, "minutes", 60.0), (0.0, "seconds", 3600.0))
"""(hours from which the unit is used, its name, how many of it make an hour), largest unit first."""


def unit(hours: float) -> tuple[str, float]:
    """The unit that suits a duration given in hours: its name, and how many of it make an hour."""
    return next((name, per_hour) for least, name, per_hour in UNITS if hours >= least)


def best_over(ends: pd.DataFrame, x: str) -> go.Figure:
    """The best full-length score so far as one stepped line per architecture, over all trials' scores.

    With several architectures, each has its colour and its dash, and shorter trials are hollow.

    Args:
        ends: see `pace.ends`, joined with the columns of `ladder.fates`.
        x: `hours`, or `spent` for the epochs that an architecture has trained.
    """
    figure = style.figure(height=340)
    title, per_hour = unit(ends["hours"].max()) if x == "hours" else ("epochs", 1.0)
    ends = ends.assign(at=ends[x] * per_hour)
    alone = ends["arch"].nunique() == 1
    for fate, look in style.FATES.items():
        points = ends[~ends["winner"] & ~(ends["baseline"] & alone) & (ends["fate"] == fate)]
        if alone:
            style.trials(figure, points, "at", "score", name=look.label, marker=look.marker)
            continue
        for arch, of_arch in points.groupby("arch", sort=False):
            colour = style.arch(str(arch))
            marker = {
                **look.marker,
                "color": colour if fate == "full" else style.WHITE,
                "size": look.marker["size"] - 1,
                "line": {"color": colour, "width": 1.5},
            }
            style.trials(figure, of_arch, "at", "score", name=f"{arch}, {look.label}", marker=marker)
    for arch, of_arch in ends.groupby("arch", sort=False):
        best = of_arch[of_arch["best"].notna()]
        figure.add_scatter(
            name=f"best of {arch}",
            x=[*best["at"].round(5).tolist(), round(float(ends["at"].max()), 5)]
            if x == "hours" and len(best)
            else best["at"].round(5).tolist(),
            y=best["best"].round(5).tolist() + (best["best"].round(5).tolist()[-1:] if x == "hours" else []),
            mode="lines",
            line={
                "shape": "hv",
                "color": style.arch(str(arch)),
                "dash": "solid" if alone else style.dash(str(arch)),
                "width": 2.5,
            },
            hovertemplate=f"best of {arch}: %{{y:.4f}}<extra></extra>",
        )
    special(figure, ends if alone else ends[ends["winner"]], "at")
    titles = {"hours": f"time since the start ({title})", "spent": "epochs trained by the architecture"}
    figure.update_xaxes(title_text=titles[x], rangemode="tozero")
    figure.update_yaxes(title_text="validation macro-F1")
    return figure


def machines(timeline: pd.DataFrame) -> go.Figure:
    """One bar per attempt at a trial, in the lane of the slot that it occupied; crosses mark failures.

    Args:
        timeline: see `pace.timeline`; it must not be empty.
    """
    start = timeline["started"].min()
    name, per_hour = unit((timeline["ended"].max() - start) / 3600)
    slots = timeline[["node", "slot"]].drop_duplicates().sort_values(["node", "slot"])
    figure = style.figure(height=90 + 34 * len(slots))
    keys = list(slots.itertuples(index=False, name=None))
    lanes = style.lanes(figure, keys, style.labels([f"{node or 'machine'} · {slot}" for node, slot in keys]))
    table = timeline.assign(
        lane=[lanes[key] for key in zip(timeline["node"], timeline["slot"], strict=True)],
        begin=(timeline["started"] - start) / 3600 * per_hour,
        length=(timeline["ended"] - timeline["started"]) / 3600 * per_hour,
    )
    for arch, bars in table.groupby("arch", sort=False):
        opacities = [0.45 if state == "running" else 1 for state in bars["state"]]
        figure.add_bar(
            name=arch,
            orientation="h",
            base=bars["begin"].round(5).tolist(),
            x=bars["length"].round(5).tolist(),
            y=bars["lane"].tolist(),
            width=0.72,
            marker={
                "color": style.arch(str(arch)),
                "opacity": opacities,
                "line": {"color": style.WHITE, "width": 1},
            },
            customdata=bars["trial"].tolist(),
            meta="trials",
            hovertemplate="%{hovertext}<extra></extra>",
        )
    lost, retried = table[table["state"].isin(["failed", "interrupted"])], table[table["attempt"] > 1]
    lost_mark = {"color": style.FAILED, "symbol": "x"}
    for attempts, at, label, marker in (
        (lost, lost["begin"] + lost["length"], "failed or interrupted", lost_mark),
        (retried, retried["begin"], "started again", {"color": style.INK, "symbol": "triangle-right"}),
    ):
        if len(attempts):
            figure.add_scatter(
                name=label,
                x=at.round(5).tolist(),
                y=attempts["lane"].tolist(),
                mode="markers",
                marker={"size": 9, "line": {"color": style.WHITE, "width": 1}, **marker},
                text=[
                    style.escaped(f"{line['state']} {line['why']}") for line in attempts.to_dict("records")
                ],
                hovertemplate=f"{label}: %{{text}}<extra></extra>",
            )
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title_text=f"time since the start ({name})", rangemode="tozero")
    return figure
