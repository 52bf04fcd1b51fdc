"""Commands that use bundles: predict, verify, serve."""

from pathlib import Path
from typing import Annotated

import typer

from tune_brain.cli.options import option
from tune_brain.cli.program import app

BundleFolder = Annotated[
    Path,
    typer.Argument(
        metavar="BUNDLE", help="Folder of a bundle, from `tune-brain export`.", show_default=False
    ),
]


@app.command()
def predict(
    bundle: BundleFolder,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE_OR_FOLDER...", help="Image files, or folders of them.", show_default=False
        ),
    ],
    csv: Annotated[
        Path | None, option("--csv", help="File for the table.", default="standard output")
    ] = None,
) -> None:
    """Predict the class of images; not a medical device.

    Reads JPEG, PNG, TIFF, DICOM and NIfTI. Exit code 11 if a file could not be read.
    """
    from tune_brain.serve.table import predict as predict_all

    if predict_all(bundle, images, csv):
        raise typer.Exit(11)


@app.command()
def verify(
    bundle: BundleFolder,
    data: Annotated[
        Path | None,
        option(
            "--data", help="The images of its run, to score it on.", default="none: checks its files only"
        ),
    ] = None,
) -> None:
    """Check a bundle's files, and its scores on images.

    Exit code 9 if a file was modified after the export, or a score on the images of its run deviates.
    """
    from tune_brain.stages.verify import verify as verify_all

    for line in verify_all(bundle, data):
        typer.echo(line)


@app.command()
def serve(
    bundle: BundleFolder,
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 picks a free one.", min=0, max=65535)
    ] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    name: Annotated[
        list[str] | None, option("--name", help="A further host name of the service.", default="none")
    ] = None,
    keep: Annotated[
        Path | None,
        option("--keep", help="Folder for uploaded images and answers.", default="stores nothing"),
    ] = None,
) -> None:
    """Serve a bundle: a page for people and an HTTP API for programs; not a medical device.

    Only this machine can reach it. It has no user accounts and no limits per client: if --host opens it to a
    network, put a proxy in front that has both.
    """
    from tune_brain.serve.server import serve as serve_all

    serve_all(bundle, host=host, port=port, names=tuple(name or ()), keep=keep)
