"""The page of a run: one HTML file that needs nothing else, written from what stands in the run's folder."""

import base64
import functools
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tune_brain.records import write_text
from tune_brain.report import formatting, style
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView
from tune_brain.report.tables import scores
from tune_brain.report.views import VIEWS, View
from tune_brain.text import duration


def write_page(run: Path, others: Sequence[Path] = ()) -> Path:
    """Write dashboard.html for a run, as far as the run has come; returns its path.

    Args:
        run: the run's folder.
        others: folders of runs to compare it with.

    Raises:
        RunFolderError: there is no run in a folder, or a file of it is damaged.
        ConfigError: its run.toml or a space file is damaged.
    """
    path = run / "dashboard.html"
    shown, *beside = (RunView(read_contents(folder)) for folder in (run, *others))
    write_text(path, page(shown, beside))
    return path


def page(
    shown: RunView,
    others: Sequence[RunView],
    live: Sequence[str] = (),
    versions: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The page of a run: whole, or with its first view only where a server will be asked for the others.

    Args:
        shown: the run.
        others: the runs that it is compared with.
        live: the names of all runs that a server shows; none: the page stands alone.
        versions: of the views, for a server to be asked about.
    """
    there = [view for view in VIEWS if view.name != "compare" or others]
    made = {view.name: fragment(view, shown, others) for view in (there[:1] if live else there)}
    values = {"name": shown.name, "archs": shown.config.arch, "views": there, "made": made}
    return pages().get_template("page.html").render(values, live=list(live), versions=versions)


def fragment(view: View, shown: RunView, others: Sequence[RunView], images: str = "") -> Markup:
    """The inside of one view's section.

    Args:
        view: which.
        shown: the run.
        others: the runs that it is compared with.
        images: the address under which a server gives test images by their number; none: they are named only.
    """
    values = {"title": view.title(shown), "archs": shown.config.arch, "images_at": images}
    template = pages().get_template(f"sections/{view.name}.html")
    return Markup(template.render(values | view.values(shown, others)))


@functools.cache
def pages() -> Environment:
    """Templates of the page of a run."""
    made = environment()
    made.globals.update(
        formatting=formatting,
        duration=duration,
        style=style,
        LESS_IS_BETTER=scores.LESS_IS_BETTER,
        held=_held,
    )
    return made


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
    made.globals.update(plot=_plot, plotly=_plotly())
    return made


@functools.cache
def _plotly() -> Markup:
    """Plotly as constants of a script, which page.js unpacks: four fifths of a page would be it otherwise."""
    packed = base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
    return Markup(f'const NIGHT = {json.dumps(style.NIGHT)};\nconst PLOTLY = "{packed}";')


def _plot(figure: go.Figure, label: str) -> Markup:
    """A figure's place in the page with its JSON inside, in which plotly has escaped <, > and /."""
    return Markup(
        '<div class="plot" role="img" aria-label="{}" style="height:{}px">'
        '<script type="application/json">{}</script></div>'
    ).format(label, figure.layout.height, Markup(figure.to_json()))


def _held(value: Any) -> Markup:
    """Plain values as JSON that may stand in a script element."""
    plain = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
