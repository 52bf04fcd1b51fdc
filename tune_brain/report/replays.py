"""Results of replayed searches: a summary table, anytime curves, and the page replay.html."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from tune_brain.files import read_json, write_text
from tune_brain.report import formatting, style
from tune_brain.report.figures.pace import unit
from tune_brain.report.formatting import number, share
from tune_brain.report.page import environment
from tune_brain.text import counted, duration

BAND = (0.05, 0.95)
"""Quantiles that bound a figure's bands and a table's ranges."""
BANDED = 3
"""Up to so many strategies are drawn with bands; those of more would hide the curves."""
POINTS = 120
"""Points of an anytime curve."""
NO_SEEDS = "no configuration has two seeds at full length, so the optimism of a winner's own score is unknown"
RELIABLE = 0.3
"""A replay is weak if predicted and real full-length scores have a lower rank correlation than this."""


def summary(study: Mapping[str, Any]) -> pd.DataFrame:
    """One line per search strategy, the reference strategy first.

    Columns: `way`, the strategy's name; `epochs` and `hours` at the end of a replay, as medians; of the
    winner, as means over replays, `score` (true full-length macro-F1) with its quantiles `low` and `high`,
    `regret` (distance to the best configuration), `gap` (score of its own trials less the true score),
    `error` (absolute gap) and `shrunken` (absolute error of its expected score; NaN without a final round);
    `worse`, the share of winners worse than the untuned baseline; `reached`, the share of replays whose
    choice reached the reference's median score and stayed there; `epochs_90`, the epochs within which 90 %
    of the replays did (NaN if fewer did); `saving`, the reference's epochs divided by `epochs_90`.

    `gap`, `error` and `shrunken` are NaN if no configuration has two seeds (`noise` is None). What concerns
    winners is NaN if a replay found none; if most of the reference's did not, there is no score to reach.
    """
    reference = study["variants"][0]["repeats"]
    found = [-np.inf if (score := repeat["realised"]) is None else score for repeat in reference]
    target = float(np.median(found))
    target = target if np.isfinite(target) else np.nan
    spent = float(np.median([repeat["epochs"][-1] for repeat in reference]))
    lines = pd.DataFrame([_line(variant, study["best"], target, spent) for variant in study["variants"]])
    if study["noise"] is None:
        lines[["gap", "error", "shrunken"]] = np.nan
    return lines


def _line(variant: Mapping[str, Any], best: float, target: float, spent: float) -> dict[str, Any]:
    repeats = variant["repeats"]
    realised, chosen, expected, baseline = (
        np.array([repeat.get(name) for repeat in repeats], float)
        for name in ("realised", "chosen", "expected", "baseline")
    )
    within = float(np.quantile([reached(repeat, target) for repeat in repeats], 0.9, method="higher"))
    return {
        "way": variant["name"],
        "epochs": float(np.median([repeat["epochs"][-1] for repeat in repeats])),
        "hours": float(np.median([repeat["seconds"][-1] for repeat in repeats])) / 3600,
        "score": realised.mean(),
        "low": np.quantile(realised, BAND[0]),
        "high": np.quantile(realised, BAND[1]),
        "regret": best - realised.mean(),
        "gap": (chosen - realised).mean(),
        "error": np.abs(chosen - realised).mean(),
        "shrunken": np.abs(expected - realised).mean(),
        "worse": (realised < baseline).mean() if np.isfinite(realised).all() else np.nan,
        "reached": np.nan
        if np.isnan(target)
        else np.isfinite([reached(repeat, target) for repeat in repeats]).mean(),
        "epochs_90": within if np.isfinite(within) else np.nan,
        "saving": spent / within if np.isfinite(within) else np.nan,
    }


def reached(repeat: Mapping[str, Any], target: float) -> float:
    """Epochs after which a replay's choice stayed at or above a target score.

    Infinite if it ended below, if the replay found no winner, or if the target is NaN.
    """
    below = [place for place, true in enumerate(repeat["true"]) if not true >= target]
    after = below[-1] + 1 if below else 0
    return float(repeat["epochs"][after]) if after < len(repeat["true"]) else float("inf")


def anytime(variant: Mapping[str, Any], axis: str) -> pd.DataFrame:
    """Median and band of the choice's true score over `epochs` or `seconds`.

    The curve starts where more than half of the replays have chosen a configuration.
    """
    repeats = variant["repeats"]
    changes = [repeat[axis] for repeat in repeats]
    places = np.geomspace(min(each[0] for each in changes), max(each[-1] for each in changes), POINTS)
    scores = np.array([_step_values(repeat[axis], repeat["true"], places) for repeat in repeats])
    known = np.isfinite(scores).mean(axis=0) > 0.5
    columns = {
        name: np.nanquantile(scores[:, known], share, axis=0)
        for name, share in (("low", BAND[0]), ("median", 0.5), ("high", BAND[1]))
    }
    return pd.DataFrame({axis: places[known], **columns})


def _step_values(changes: list[float], true: list[float], places: np.ndarray) -> np.ndarray:
    """Values of a step function at some places; NaN before its first step, everywhere if it has none."""
    if not true:
        return np.full(len(places), np.nan)
    at = np.searchsorted(changes, places, side="right") - 1
    return np.where(at >= 0, np.array(true)[np.maximum(at, 0)], np.nan)


def figure(study: Mapping[str, Any], axis: str) -> go.Figure:
    """Anytime curves of a study's strategies, over `epochs` or `seconds`; with bands if they are few."""
    drawn = style.figure(420)
    longest = max(repeat["seconds"][-1] for variant in study["variants"] for repeat in variant["repeats"])
    of_time, per_hour = unit(longest / 3600)
    banded = len(study["variants"]) <= BANDED
    for place, variant in enumerate(study["variants"]):
        curve, colour = anytime(variant, axis), style.WAYS[place % len(style.WAYS)]
        x, name = curve[axis] * (per_hour / 3600 if axis == "seconds" else 1), variant["name"]
        for edge, fill in (("low", None), ("high", "tonexty")) if banded else ():
            line = {"width": 0, "color": colour, "shape": "hv"}
            drawn.add_scatter(
                x=x, y=curve[edge], line=line, fill=fill, showlegend=False, hoverinfo="skip",
                legendgroup=name, mode="lines", fillcolor=f"{colour}26",
            )  # fmt: skip
        drawn.add_scatter(
            x=x, y=curve["median"], name=name, legendgroup=name, mode="lines",
            line={"color": colour, "width": 2, "shape": "hv", "dash": "dot" if place == 0 else "solid"},
        )  # fmt: skip
    drawn.update_xaxes(title_text="epochs trained" if axis == "epochs" else of_time, type="log")
    drawn.update_yaxes(title_text="macro-F1 of the choice, mean over seeds")
    drawn.update_layout(**style.LEGEND, legend_y=-0.2, hovermode="x unified")
    return drawn


def write_replay(results: Path) -> Path:
    """Write replay.html next to a replay.json and return its path."""
    replay = read_json(results)
    path = results.with_suffix(".html")
    studies = [
        {
            **study,
            "weak": weak(study),
            "reliability": reliability(study),
            "banded": len(study["variants"]) <= BANDED,
            "table": table(study),
            "figures": {axis: figure(study, axis) for axis in ("epochs", "seconds")},
        }
        for study in replay["studies"]
    ]
    page = environment().get_template("replay.html")
    name = results.parent.resolve().name
    values = {"name": name, "runs": replay["runs"], "repeats": replay["repeats"], "studies": studies}
    write_text(
        path,
        page.render(
            formatting=formatting, counted=counted, no_seeds=NO_SEEDS, meanings=meanings(replay), **values
        ),
    )
    return path


class Column(NamedTuple):
    """A column of the table of search strategies."""

    heading: str
    meaning: str
    cell: Callable[[Mapping[Any, Any]], str]
    """Formats the cell, from a line of `summary`."""


COLUMNS = (
    Column("epochs", "epochs trained, as a median", lambda line: f"{line['epochs']:,.0f}"),
    Column("time", "duration, as a median", lambda line: duration(line["hours"] * 3600)),
    Column("score", "true macro-F1 of the winner, as a mean", lambda line: number(line["score"], 4)),
    Column(
        "5 to 95 %",
        "quantiles of that score",
        lambda line: formatting.interval(line["low"], line["high"]) or formatting.NOTHING,
    ),
    Column("regret", "how far it is below the best configuration", lambda line: number(line["regret"], 4)),
    Column(
        "optimism",
        "score of the winner's own trials less the true one",
        lambda line: f"{line['gap']:+.4f}" if np.isfinite(line["gap"]) else formatting.NOTHING,
    ),
    Column("error", "the same without its sign, as a mean", lambda line: number(line["error"], 4)),
    Column(
        "expected",
        "the same error of the winner's expected score",
        lambda line: number(line["shrunken"], 4),
    ),
    Column(
        "< untuned",
        "winners worse than the untuned baseline",
        lambda line: formatting.NOTHING if np.isnan(line["worse"]) else share(line["worse"]),
    ),
    Column(
        "reached",
        "replays whose choice reached the reference's median score and stayed there",
        lambda line: formatting.NOTHING if np.isnan(line["reached"]) else share(line["reached"]),
    ),
    Column(
        "90 % by", "epochs within which 90 % of the replays did", lambda line: number(line["epochs_90"], 0)
    ),
    Column(
        "saving",
        "epochs of the reference divided by those",
        lambda line: formatting.NOTHING if np.isnan(line["saving"]) else f"{line['saving']:.1f}x",
    ),
)


def table(study: Mapping[str, Any]) -> pd.DataFrame:
    """The lines of `summary` as text, one column per heading of `COLUMNS`; without those that are empty."""
    lines = summary(study).to_dict("records")
    cells = {column.heading: [column.cell(line) for line in lines] for column in COLUMNS}
    filled = {heading: texts for heading, texts in cells.items() if set(texts) != {formatting.NOTHING}}
    return pd.DataFrame({"strategy": [line["way"] for line in lines], **filled})


def meanings(replay: Mapping[str, Any]) -> dict[str, str]:
    """The meaning of each heading that occurs in the tables of a replay."""
    headings = {heading for study in replay["studies"] for heading in table(study)}
    return {column.heading: column.meaning for column in COLUMNS if column.heading in headings}


def reliability(study: Mapping[str, Any]) -> str:
    """How well scores that were predicted without a configuration's own trials rank the real ones."""
    by_length = ", ".join(
        f"{number(value, 2)} at {formatting.epochs(int(length))}"
        for length, value in study["rank_correlation"].items()
    )
    return f"rank correlation of predicted with real scores: {by_length or 'unknown, too few trials'}"


def weak(study: Mapping[str, Any]) -> bool:
    """Whether too little is known about full-length scores for replays to be reliable; see `RELIABLE`."""
    return (study["rank_correlation"].get(str(study["full_length"])) or 0) < RELIABLE


def describe(results: Path) -> Iterator[str]:
    """Summarise a replay.json as lines for a terminal."""
    replay = read_json(results)
    for study in replay["studies"]:
        yield study["arch"]
        yield reliability(study)
        if weak(study):
            yield "too few distinct full-length trials are known, so the results below are unreliable"
        if study["noise"] is None:
            yield NO_SEEDS
        yield table(study).to_string(index=False)
        yield ""
    yield from (f"{heading:<9}  {meaning}" for heading, meaning in meanings(replay).items())
