"""Commands on images: download, audit, combine, demo-data."""

from pathlib import Path
from typing import Annotated

import typer

from tune_brain.cli.options import option
from tune_brain.cli.program import app
from tune_brain.data.catalogue import counts, scan
from tune_brain.errors import DataError
from tune_brain.text import legible


@app.command()
def download(
    dataset: Annotated[
        str,
        typer.Argument(
            help="nickparvar, sartaj, or the address of a data set on Kaggle.", show_default=False
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="New folder for the images.", show_default=False)],
) -> None:
    """Download a data set from Kaggle.

    Credentials: KAGGLE_USERNAME and KAGGLE_KEY; KAGGLE_API_TOKEN, a token or a file with one; kaggle.json
    here, in KAGGLE_CONFIG_DIR or in ~/.kaggle; ~/.kaggle/access_token.
    """
    from tune_brain.data.download import differences
    from tune_brain.data.download import download as download_images

    download_images(dataset, to)
    try:
        downloaded = counts(scan(to))
    except DataError as error:
        typer.echo(f"{legible(str(to))} is complete, but not usable as it is: {error}", err=True)
    else:
        for line in differences(dataset, downloaded):
            typer.echo(legible(f"not as published, {line}"), err=True)
    typer.echo(legible(str(to)))


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(help="Folder of images in class folders.", show_default=False)],
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Exit 1 if test images leak into training or twins have two labels."),
    ] = False,
    to: Annotated[
        Path | None,
        option("--to", help="Folder for audit.json and audit.html.", default="results/audit-<folder>"),
    ] = None,
) -> None:
    """Find what is wrong with a data set.

    Unreadable files, twins, leaks between the parts, test images from elsewhere. Nothing is changed.
    """
    from tune_brain.stages.audit import audit as audit_images

    to = to or Path("results") / f"audit-{folder.resolve().name}"
    faults = audit_images(folder, to, say=typer.echo)
    if strict and faults:
        for line in faults:
            typer.echo(f"tune-brain: {line}", err=True)
        raise typer.Exit(1)


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
    """Combine several image folders into one.

    Every image keeps its part and the name of its source. Training images with a twin in any test part are
    left out, and so are twins with two labels. sources.csv records what became of each image.
    """
    from tune_brain.data.combine import combine as combine_images
    from tune_brain.data.combine import describe_rows
    from tune_brain.data.spellings import parse_rules
    from tune_brain.progress import Progress

    with Progress().bar("combine") as advance:
        rows = combine_images(folders, to, rules=parse_rules(rules), allow_leak=allow_leak, advance=advance)
    for line in describe_rows(rows):
        typer.echo(line)
    typer.echo(legible(str(to)))


@app.command("demo-data")
def demo_data(
    folder: Annotated[Path, typer.Argument(help="New folder for the images.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Determines the images.", min=0)] = 0,
) -> None:
    """Write the built-in demo images to a folder."""
    from tune_brain.data.demo import write_demo

    write_demo(folder, seed=seed)
    typer.echo(legible(str(folder)))
