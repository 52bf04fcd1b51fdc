"""The search over time as figures: the best so far, and what each slot did."""

import html

import pandas as pd
import plotly.graph_objects as go

from tune_brain.report import style
from tune_brain.report.figures.ladder import special

UNITS = ((3.0, "hours", 1.0), (0.05, "minutes", 60.0), (0.0, "seconds", 3600.0))
"""From so many hours on, a span is told in this unit, of which an hour has so many."""


def unit(hours: float) -> tuple[str, float]:
    """The unit in which a span of so many hours is best told, and how many of it an hour has."""
    return next((name, each) for least, name, each in UNITS if hours >= least)


def best_over(ends: pd.DataFrame, x: str) -> go.Figure:
    """The best full-length score so far, a stepped line for each architecture, over the score of every trial.

    Args:
        ends: see `pace.ends`, with the columns of `ladder.fates`.
        x: `hours`, or `spent` for the epochs that an architecture has trained.
    """
    figure = style.figure(height=340)
    title, each = unit(ends["hours"].max()) if x == "hours" else ("epochs", 1.0)
    ends = ends.assign(at=ends[x] * each)
    alone = ends["arch"].nunique() == 1
    for fate, marker in style.FATES.items():
        own = ends[~ends["winner"] & ~(ends["baseline"] & alone) & (ends["fate"] == fate)]
        if alone:
            style.trials(figure, own, "at", "score", name=style.FATE_NAMES[fate], marker=marker)
            continue
        for arch, of_arch in own.groupby("arch", sort=False):
            full = fate == "full"
            shown = {**marker, "color": style.arch(str(arch)), "size": marker["size"] - 1}
            name = f"{arch}, {style.FATE_NAMES[fate]}"
            style.trials(
                figure, of_arch, "at", "score", name=name, marker=shown, opacity=0.9 if full else 0.4
            )
    for arch, own in ends.groupby("arch", sort=False):
        best = own[own["best"].notna()]
        figure.add_scatter(
            name=f"best of {arch}",
            x=[*best["at"].round(5).tolist(), round(float(ends["at"].max()), 5)]
            if x == "hours" and len(best)
            else best["at"].round(5).tolist(),
            y=best["best"].round(5).tolist() + (best["best"].round(5).tolist()[-1:] if x == "hours" else []),
            mode="lines",
            line={"shape": "hv", "color": style.arch(str(arch)), "width": 2.5},
            hovertemplate=f"best of {arch}: %{{y:.4f}}<extra></extra>",
        )
    special(figure, ends if alone else ends[ends["winner"]], "at")
    where = {"hours": f"time since the start ({title})", "spent": "epochs trained by the architecture"}
    figure.update_xaxes(title_text=where[x], rangemode="tozero")
    figure.update_yaxes(title_text="validation macro-F1")
    return figure


def machines(timeline: pd.DataFrame) -> go.Figure:
    """A bar for each attempt at a trial, in the slot that it took; crosses mark what failed.

    Args:
        timeline: see `pace.timeline`; of a trial or more.
    """
    start = timeline["started"].min()
    name, each = unit((timeline["ended"].max() - start) / 3600)
    slots = timeline[["node", "slot"]].drop_duplicates().sort_values(["node", "slot"])
    lanes = {key: len(slots) - place for place, key in enumerate(slots.itertuples(index=False, name=None))}
    table = timeline.assign(
        lane=[lanes[key] for key in zip(timeline["node"], timeline["slot"], strict=True)],
        begin=(timeline["started"] - start) / 3600 * each,
        length=(timeline["ended"] - timeline["started"]) / 3600 * each,
    )
    figure = style.figure(height=90 + 34 * len(lanes))
    for arch, own in table.groupby("arch", sort=False):
        going = (own["state"] == "running").tolist()
        figure.add_bar(
            name=arch,
            orientation="h",
            base=own["begin"].round(5).tolist(),
            x=own["length"].round(5).tolist(),
            y=own["lane"].tolist(),
            width=0.72,
            marker={
                "color": style.arch(str(arch)),
                "opacity": [0.45 if open_ else 1 for open_ in going],
                "line": {"color": style.WHITE, "width": 1},
            },
            customdata=own["trial"].tolist(),
            meta="trials",
            hovertemplate="%{hovertext}<extra></extra>",
        )
    bad, again = table[table["state"].isin(["failed", "interrupted"])], table[table["attempt"] > 1]
    for own, at, label, marker in (
        (bad, bad["begin"] + bad["length"], "failed or interrupted", {"color": style.FAILED, "symbol": "x"}),
        (again, again["begin"], "started again", {"color": style.INK, "symbol": "triangle-right"}),
    ):
        if len(own):
            figure.add_scatter(
                name=label,
                x=at.round(5).tolist(),
                y=own["lane"].tolist(),
                mode="markers",
                marker={"size": 9, "line": {"color": style.WHITE, "width": 1}, **marker},
                text=[html.escape(f"{line['state']} {line['why']}") for line in own.to_dict("records")],
                hovertemplate=f"{label}: %{{text}}<extra></extra>",
            )
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(title_text=f"time since the start ({name})", rangemode="tozero")
    figure.update_yaxes(
        tickvals=list(lanes.values()),
        ticktext=[style.text(f"{node or 'machine'} · {slot}") for node, slot in lanes],
        range=[0.4, len(lanes) + 0.6],
        showgrid=False,
    )
    return figure
