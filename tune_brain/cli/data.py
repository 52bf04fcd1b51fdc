"""Commands on images: download, audit, combine, demo-data."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tune_brain.cli.program import app
from tune_brain.data.catalogue import counts, scan
from tune_brain.data.destination import require_writable
from tune_brain.errors import ConfigError, DataError
from tune_brain.options import option
from tune_brain.text import legible

if TYPE_CHECKING:
    from tune_brain.data.audit import Audit


@app.command()
def download(
    dataset: Annotated[
        str,
        typer.Argument(help="nickparvar, sartaj, or a data set's address on Kaggle.", show_default=False),
    ],
    to: Annotated[Path, typer.Option("--to", help="New folder for the images.", show_default=False)],
) -> None:
    """Fetch a data set from Kaggle.

    Credentials: KAGGLE_USERNAME and KAGGLE_KEY; KAGGLE_API_TOKEN, a token or a file with one; kaggle.json
    here, in KAGGLE_CONFIG_DIR or in ~/.kaggle; ~/.kaggle/access_token.
    """
    from tune_brain.data.download import differences
    from tune_brain.data.download import download as fetch

    fetch(dataset, to)
    try:
        found = counts(scan(to))
    except DataError as error:
        typer.echo(f"{legible(str(to))} is whole, but no folder to search as it stands: {error}", err=True)
    else:
        for line in differences(dataset, found):
            typer.echo(legible(f"not as published, {line}"), err=True)
    typer.echo(legible(str(to)))


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(help="Folder of images in class folders.", show_default=False)],
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 where test leaks into training or twins have two labels.")
    ] = False,
    to: Annotated[
        Path | None,
        option("--to", help="Folder for audit.json and audit.html.", default="results/audit-<folder>"),
    ] = None,
) -> None:
    """Say what is wrong with a data set.

    Broken files, twins, leaks between the parts, test images from elsewhere. Nothing is changed.
    """
    name = folder.resolve().name
    to = to or Path("results") / f"audit-{name}"
    if to.resolve().is_relative_to(folder.resolve()):
        raise ConfigError("An audit writes nothing into the images", found=to, remedy="Name another --to.")
    scan(folder)
    require_writable(to, ("audit.json", "audit.html"))
    from tune_brain.data.audit import audit as look_through
    from tune_brain.data.findings import faults, terminal
    from tune_brain.progress import Progress

    # What draws the page takes a second to import and to pack, and need not wait for the images.
    with ThreadPoolExecutor(1) as aside, Progress().bar("audit") as progress:
        pen = aside.submit(_pen)
        found = look_through(folder, progress)
    for line in terminal(found.facts):
        typer.echo(line)
    for path in pen.result()(found, to):
        typer.echo(legible(str(path)))
    if strict and (wrong := faults(found.facts)):
        for line in wrong:
            typer.echo(f"tune-brain: {line}", err=True)
        raise typer.Exit(1)


def _pen() -> Callable[["Audit", Path], tuple[Path, Path]]:
    """What writes an audit's files, plotly imported and packed."""
    from tune_brain.report.explore import write_audit
    from tune_brain.report.page import environment

    environment()
    return write_audit


@app.command()
def combine(
    folders: Annotated[list[Path], typer.Argument(help="Two or more image folders.", show_default=False)],
    to: Annotated[Path, typer.Option("--to", help="New folder for the images.", show_default=False)],
    rules: Annotated[
        str, option("--map", help="New names of classes, OLD=NEW,OLD=NEW.", default="common spellings")
    ] = "",
    allow_leak: Annotated[
        bool,
        typer.Option("--allow-leak", help="Keep training images with a twin in a test part; scores say so."),
    ] = False,
) -> None:
    """Make one image folder of several.

    Every image keeps its part and the name of its source. Training images with a twin in any test part are
    left out, and so are twins with two labels. sources.csv says what became of each image.
    """
    from tune_brain.data.combine import combine as put_together
    from tune_brain.data.combine import told
    from tune_brain.data.spellings import parse_rules
    from tune_brain.progress import Progress

    with Progress().bar("combine") as progress:
        rows = put_together(folders, to, rules=parse_rules(rules), allow_leak=allow_leak, progress=progress)
    for line in told(rows):
        typer.echo(line)
    typer.echo(legible(str(to)))


@app.command("demo-data")
def demo_data(
    folder: Annotated[Path, typer.Argument(help="New folder for the images.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Decides the images.", min=0)] = 0,
) -> None:
    """Write the built-in demo images to a folder."""
    from tune_brain.data.demo import write_demo

    write_demo(folder, seed=seed)
    typer.echo(legible(str(folder)))
