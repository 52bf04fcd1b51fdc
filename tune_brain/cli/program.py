"""The application that commands add themselves to, and how it is started."""

import errno
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tune_brain import __version__
from tune_brain.errors import FileError, TuneBrainError

app = typer.Typer(
    no_args_is_help=True,
    # The richer help takes a fifth of a second more to import.
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Search learning rate, weight decay and gradient clipping of four architectures on MRI classes, "
    "then score the winners on a test set that was sealed until they stood. Not a medical device.",
)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""What a disk says of a file that is open, without its name."""

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]
OtherRuns = Annotated[list[Path] | None, typer.Argument(help="Folders of more runs.", show_default=False)]


def _version(show: bool) -> None:
    if show:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run a command; print an error as one message and end with its exit code."""
    try:
        app()
    except TuneBrainError as error:
        _end(error)
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        _end(
            FileError(
                "Files that a command needs must be readable, and where it writes, writable",
                found=f"{error.filename or 'a file that was being written'}: {error.strerror}",
                remedy="Look at the path, at who may read and write there, and at the room on its disk.",
            )
        )


def _end(error: TuneBrainError) -> NoReturn:
    print(f"tune-brain: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code) from None
