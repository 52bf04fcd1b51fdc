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
from tune_brain.report import figures, tables, words
from tune_brain.report.contents import Contents, read_contents

DOTS = ("f1", "accuracy")
"""Metrics that are drawn beside being listed."""


def write_page(run: Path) -> Path:
    """Write dashboard.html for a run, as far as the run has come; returns its path.

    Raises:
        RunFolderError: there is no run in the folder, or a file of it is damaged.
        ConfigError: its run.toml or a space file is damaged.
    """
    contents = read_contents(run)
    # Every value is escaped unless it is Markup, and only what plotly has made is.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(words=words, figure=_figure)
    page = environment.get_template("page.html").render(
        plotly=Markup(get_plotlyjs()),  # noqa: S704
        **_values(contents, run),
    )
    path = run / "dashboard.html"
    write_text(path, page)
    return path


def _figure(figure: go.Figure, label: str) -> Markup:
    """A figure's place in the page, its JSON inside; plotly escapes <, > and / in it."""
    return Markup('<div class="plot" style="height:{}px" role="img" aria-label="{}">{}</div>').format(
        figure.layout.height,
        label,
        Markup('<script type="application/json">{}</script>').format(Markup(figure.to_json())),
    )


def _values(contents: Contents, run: Path) -> dict[str, Any]:
    """All that the template shows."""
    config = contents.config
    images = tables.images(contents.record.get("data", {}))
    trials = tables.trials(contents.trials, config)
    curves = tables.curves(contents.epochs, trials)
    scores = tables.scores(contents.scores, contents.comparisons)
    return {
        "name": run.resolve().name,
        "archs": config.arch,
        "ladder": config.ladder,
        "colours": figures,
        "rungs": figures.rung_colours(config.ladder),
        "facts": list(words.facts(contents)),
        "notes": list(words.notes(contents, images)),
        "images": images,
        "cards": [_card(arch, contents, trials, scores) for arch in config.arch],
        "scored": not scores.empty,
        "score_groups": list(_score_groups(scores)),
        "dots": _dots(scores),
        "retrained": tables.retrained(contents.comparisons).to_dict("records"),
        "studies": _studies(trials, contents),
        "curves": {arch: _curves(curves[curves["arch"] == arch], contents) for arch in config.arch},
        "parameters": {arch: _parameters(trials[trials["arch"] == arch]) for arch in config.arch},
        "confusions": list(_confusions(contents)),
        "pairs": tables.pairs(contents.comparisons).to_dict("records"),
        "trials": trials.to_dict("records"),
        "tuned": tables.parameters(trials),
    }
