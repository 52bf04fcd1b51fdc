"""The typer application, to which the commands add themselves, and its entry point."""

import errno
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tune_brain import __version__
from tune_brain.errors import FileError, TuneBrainError

app = typer.Typer(
    no_args_is_help=True,
    # Rich help pages would add a fifth of a second to every start.
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tune learning rate, weight decay and gradient clipping of four architectures on classes of MRI "
    "images, then score the winners on a test set that stays sealed until then. Not a medical device.",
)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Errors of a disk on an open file, which carry no file name."""

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]
RunOrRuns = Annotated[Path, typer.Argument(help="Folder of a run, or of several runs.", show_default=False)]
OtherRuns = Annotated[list[Path] | None, typer.Argument(help="Folders of more runs.", show_default=False)]


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run a command; print an error as one message and exit with its code."""
    try:
        app()
    except TuneBrainError as error:
        _end(error)
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        _end(
            FileError(
                "Cannot read or write a file",
                found=f"{error.filename or 'a file that was being written'}: {error.strerror}",
                remedy="Check the path, its permissions, and the free space on its disk.",
            )
        )


def _end(error: TuneBrainError) -> NoReturn:
    print(f"tune-brain: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code) from None
