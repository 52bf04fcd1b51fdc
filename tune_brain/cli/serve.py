"""Commands on bundles: predict, verify, serve."""

from pathlib import Path
from typing import Annotated

import typer

from tune_brain.cli.program import app
from tune_brain.options import option

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
        typer.Argument(metavar="IMAGE_OR_FOLDER...", help="Files, or folders of them.", show_default=False),
    ],
    csv: Annotated[Path | None, option("--csv", help="File for the table.", default="the screen")] = None,
) -> None:
    """Say what a bundle makes of images.

    JPEG, PNG, TIFF, DICOM and NIfTI; exit code 11 where a file could not be read.
    """
    from tune_brain.serve.table import predict as predict_all

    if predict_all(bundle, images, csv):
        raise typer.Exit(11)


@app.command()
def verify(
    bundle: BundleFolder,
    data: Annotated[
        Path | None,
        option("--data", help="Images that it was scored on.", default="none: only its files are checked"),
    ] = None,
) -> None:
    """Check a bundle's files, and its scores on images.

    Exit code 9 where a file is not as it was exported, or a score on the images it was made with is not.
    """
    from tune_brain.stages.verify import verify as verify_all

    for line in verify_all(bundle, data):
        typer.echo(line)


@app.command()
def serve(
    bundle: BundleFolder,
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    name: Annotated[
        list[str] | None, option("--name", help="A further host name it is addressed by.", default="none")
    ] = None,
    keep: Annotated[
        Path | None, option("--keep", help="Folder to keep uploaded images in.", default="nothing is stored")
    ] = None,
) -> None:
    """Serve a bundle: a page for people, and a service for programs.

    Only this machine reaches it unless --host says otherwise; then put a server with users in front.
    """
    from tune_brain.serve.server import serve as serve_all

    serve_all(bundle, host=host, port=port, names=tuple(name or ()), keep=keep)
