"""The page of a run: one self-contained HTML file, rendered from the files in the run's folder.

The same templates serve the live dashboard, which renders the first view and sends the others on request.
"""

import base64
import functools
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from tune_brain.files import write_text
from tune_brain.report import formatting, style
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView
from tune_brain.report.tables import scores
from tune_brain.report.views import VIEWS, View
from tune_brain.text import counted, duration


@dataclass(frozen=True, kw_only=True)
class Live:
    """What a page needs to know of the server that keeps it up to date."""

    run: str
    """Identifies the run and the server process; the page reloads when the server answers with another."""
    names: Sequence[str]
    """Distinct names of all runs that the server shows."""
    place: int
    """Index of the run among them."""
    state: str
    """`live` while a command writes to the run, otherwise `not running`."""
    versions: Mapping[str, str]
    """Version of each view."""


def write_page(run: Path, others: Sequence[Path] = ()) -> Path:
    """Write dashboard.html for a run, finished or not, and return its path.

    Args:
        run: the run's folder.
        others: folders of runs to compare it with.

    Raises:
        RunFolderError: a folder contains no run, or one of its files is damaged.
        ConfigError: a run.toml, a space file or a winner's file is damaged.
    """
    path = run / "dashboard.html"
    shown, *compared = (RunView(read_contents(folder)) for folder in (run, *others))
    write_text(path, page(shown, compared))
    return path


def page(shown: RunView, others: Sequence[RunView] = (), live: Live | None = None) -> str:
    """The page of a run. A live page contains the first view only and requests the others from its server.

    Args:
        shown: the run.
        others: the runs that it is compared with; a live page requests that view later.
        live: facts about the server; None for a page that stands alone.
    """
    compares = others or (live and len(live.names) > 1)
    views = [view for view in VIEWS if view.name != "compare" or compares]
    rendered = {view.name: fragment(view, shown, others) for view in (views[:1] if live else views)}
    values = {"name": shown.name, "archs": shown.config.arch, "views": views, "rendered": rendered}
    return pages().get_template("page.html").render(values, live=live)


def fragment(
    view: View,
    shown: RunView,
    others: Sequence[RunView],
    *,
    images: str = "",
    unread: Mapping[str, str] | None = None,
) -> Markup:
    """The content of one view's section.

    Args:
        view: the view.
        shown: the run.
        others: the runs that it is compared with.
        images: URL under which a server offers test images by number; if empty, images are not linked.
        unread: runs that cannot be compared, by name, each with the reason.
    """
    values = {
        "title": view.title(shown),
        "archs": shown.config.arch,
        "images_at": images,
        "unread": unread or {},
    }
    template = pages().get_template(f"sections/{view.name}.html")
    return Markup(template.render(values | view.values(shown, others)))


@functools.cache
def pages() -> Environment:
    """Jinja environment for the page of a run."""
    templates = environment()
    templates.globals.update(
        formatting=formatting,
        duration=duration,
        style=style,
        LESS_IS_BETTER=scores.LESS_IS_BETTER,
        counted=counted,
    )
    return templates


def environment() -> Environment:
    """Jinja environment for self-contained pages; its function `plot` embeds a figure."""
    # Every value is escaped unless it is Markup, which only plotly's output and the JSON of `tojson` are.
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Jinja's tojson escapes what could end a script element.
    templates.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    templates.globals.update(plot=_plot, plotly=_plotly())
    return templates


@functools.cache
def _plotly() -> Markup:
    """Plotly's library, compressed into a script constant that page.js unpacks.

    Uncompressed it would make up four fifths of a page.
    """
    packed = base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
    return Markup(f'const NIGHT = {json.dumps(style.NIGHT)};\nconst PLOTLY = "{packed}";')


def _plot(figure: go.Figure, label: str) -> Markup:
    """A figure's element with its JSON inside; plotly has escaped <, > and / in it."""
    return Markup(
        '<div class="plot" role="img" aria-label="{}" style="height:{}px">'
        '<script type="application/json">{}</script></div>'
    ).format(label, figure.layout.height, Markup(figure.to_json()))
