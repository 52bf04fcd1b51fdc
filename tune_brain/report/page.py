"""The page of a run: one HTML file that needs nothing else, written from what stands in the run's folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tune_brain.progress import clock
from tune_brain.records import write_text
from tune_brain.report import figures, style, tables, words
from tune_brain.report.contents import Contents, read_contents

DRAWN = ("f1", "accuracy")
"""Metrics that are drawn beside being listed."""


def write_page(run: Path) -> Path:
    """Write dashboard.html for a run, as far as the run has come; returns its path.

    Raises:
        RunFolderError: there is no run in the folder, or a file of it is damaged.
        ConfigError: its run.toml or a space file is damaged.
    """
    pages = environment()
    pages.globals.update(words=words, clock=clock, LESS_IS_BETTER=tables.LESS_IS_BETTER)
    path = run / "dashboard.html"
    write_text(path, pages.get_template("page.html").render(_values(read_contents(run), run)))
    return path


def environment() -> Environment:
    """Templates of pages that need nothing else; `plot` draws a figure in one."""
    # Every value is escaped unless it is Markup, and only what plotly has made is.
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(plot=_plot, plotly=Markup(get_plotlyjs()))
    return made


def _plot(figure: go.Figure, label: str) -> Markup:
    """A figure's place in the page with its JSON inside, in which plotly has escaped <, > and /."""
    return Markup(
        '<div class="plot" role="img" aria-label="{}" style="height:{}px">'
        '<script type="application/json">{}</script></div>'
    ).format(label, figure.layout.height, Markup(figure.to_json()))


def _values(contents: Contents, run: Path) -> dict[str, Any]:
    """All that the template shows."""
    config = contents.config
    images = tables.images(contents.record.get("data", {}))
    trials = tables.trials(contents.trials, config)
    curves = tables.curves(contents.epochs, trials)
    scores = tables.scores(contents.scores, contents.comparisons)
    studies = tables.studies(trials, config)
    of_arch = {arch: trials[trials["arch"] == arch] for arch in config.arch}
    return {
        "name": run.resolve().name,
        "facts": list(words.facts(contents)),
        "notes": list(words.notes(contents, images)),
        "images": images,
        "cards": [_card(line, of_arch[line["arch"]], scores) for line in _lines(studies)],
        "verdicts": contents.comparisons.get("verdicts", {}),
        "scores": list(_score_groups(scores)),
        "dots": _dots(scores),
        "retrained": _lines(tables.retrained(contents.comparisons)),
        "ladder": config.ladder,
        "studies": _lines(studies),
        "style": style,
        "rungs": style.rungs(config.ladder),
        "curves": {arch: _curves(curves[curves["arch"] == arch], config.ladder) for arch in config.arch},
        "parameters": {arch: _parameters(study) for arch, study in of_arch.items()},
        "confusions": {arch: _confusions(parts) for arch, parts in contents.scores.items()},
        "pairs": _lines(tables.pairs(contents.comparisons)),
        "trials": _lines(trials),
        "tuned": tables.parameters(trials),
    }


def _lines(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, line, strict=True)) for line in table.itertuples(index=False, name=None)]


def _card(study: dict[str, Any], trials: pd.DataFrame, scores: pd.DataFrame) -> dict[str, Any]:
    """An architecture at a glance: its macro-F1 on what counts most of what there is, and its winner."""
    winner = _lines(trials[trials["winner"]])
    own = (scores["classifier"] == study["arch"]) & (scores["role"] == "winner") & (scores["metric"] == "f1")
    tested = _lines(scores[own & scores["mean"].notna()])
    return {**study, "winner": next(iter(winner), None), "score": tested[-1] if tested else None}


def _score_groups(scores: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The score table by classifier: a line for each part, in it one cell a metric, None where absent."""
    for key, group in scores.groupby(["classifier", "role"], sort=False):
        lines = []
        for part, cells in group.groupby("part", sort=False):
            about = cells.iloc[0]
            by_metric = {cell["metric"]: cell for cell in _lines(cells)}
            lines.append(
                {
                    **{key: about[key] for key in ("n", "groups", "seeds")},
                    "part": part,
                    "cells": [by_metric.get(metric) for metric in tables.METRICS],
                }
            )
        name, role = map(str, key)
        yield {"name": words.classifier(name, role), "role": role, "lines": lines}


def _dots(scores: pd.DataFrame) -> dict[str, go.Figure]:
    keys = scores[["classifier", "role"]].drop_duplicates().itertuples(index=False, name=None)
    names = {key: words.classifier(*key) for key in keys}
    return {metric: figures.score_dots(scores, metric, names) for metric in DRAWN if names}


def _curves(curves: pd.DataFrame, ladder: tuple[int, ...]) -> go.Figure | None:
    return None if curves.empty else figures.learning_curves(curves, ladder)


def _parameters(trials: pd.DataFrame) -> dict[str, go.Figure]:
    ended = trials[trials["state"] != "running"]
    return {name: figures.parameter_scores(ended, name) for name in tables.parameters(ended)}


def _confusions(parts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of one winner, by part: how many images, the figure and the table of classes."""
    return {
        part: {
            "n": parts[part]["n"],
            "figure": figures.confusion(parts[part]["confusion"], list(parts[part]["per_class"])),
            "classes": _lines(tables.per_class(parts[part])),
        }
        for part in tables.PARTS
    }
