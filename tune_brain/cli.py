"""`tune-brain`: each command parses its options and calls one stage.

Stages are imported inside the commands, so that `--help` and a mistyped option do not wait for torch, and
torch not for Ray.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from tune_brain import __version__
from tune_brain.config import RunConfig
from tune_brain.data.catalogue import scan
from tune_brain.errors import ConfigError, TuneBrainError
from tune_brain.options import OPTIONS, changes, option, run_config, takes_options
from tune_brain.runs import open_run, spaces_for

app = typer.Typer(
    no_args_is_help=True,
    # The richer help takes a fifth of a second more to import.
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Search learning rate, weight decay and gradient clipping of four architectures on MRI classes, "
    "then score the winners on a test set that was sealed until they stood. Not a medical device.",
)

RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]


@app.command()
@takes_options()
def run(given: dict[str, Any]) -> None:
    """Search, evaluate, report and export.

    The winners are trained again with several seeds, and the sealed test is opened once.
    """
    asked = run_config(given)
    _refuse_at_once(asked)
    with _ray_starting(asked):
        from tune_brain.stages.search import search as search_all

        folder = search_all(asked)
        from tune_brain.stages.evaluate import evaluate as evaluate_all

        evaluate_all(folder)
    from tune_brain.export import export as write_models
    from tune_brain.report.page import write_page

    write_page(folder)
    write_models(folder, folder / "export")
    typer.echo(f"scores     {folder / 'scores.json'}")
    typer.echo(f"dashboard  {folder / 'dashboard.html'}")
    typer.echo(f"models     {folder / 'export'}")


@app.command()
@takes_options(*(name for name in OPTIONS if name != "seeds"))
def search(given: dict[str, Any]) -> None:
    """Search, and write the winners on validation."""
    asked = run_config(given)
    _refuse_at_once(asked)
    with _ray_starting(asked):
        from tune_brain.stages.search import search as search_all

        folder = search_all(asked)
    typer.echo(folder / "winners")


@app.command()
def resume(folder: RunFolder) -> None:
    """Go on with an interrupted search."""
    with _ray_starting(open_run(folder).config):
        from tune_brain.stages.search import resume as go_on

        go_on(folder)
    typer.echo(folder / "winners")


@app.command()
@takes_options(
    "configs",
    "arch",
    "spaces",
    "time_budget",
    "concurrency",
    "address",
    default="as before",
    folder=RunFolder,
)
def extend(given: dict[str, Any]) -> None:
    """Ask more of a search, and go on with it.

    More configurations, more time, more architectures (--arch names those to add), or wider ranges
    (--spaces). Nothing is run twice.
    """
    folder = given.pop("folder")
    asked = changes(given)
    from tune_brain.stages.extend import extend as ask_more

    with _ray_starting(ask_more(folder, asked)):
        from tune_brain.stages.search import resume as go_on

        go_on(folder)
    typer.echo(folder / "winners")


@app.command()
def status(folder: RunFolder) -> None:
    """Say what a run is doing."""
    from tune_brain.stages.status import status as tell

    tell(folder)


@app.command()
def cancel(folder: RunFolder) -> None:
    """End a run that is under way."""
    from tune_brain.stages.status import cancel as end

    typer.echo(f"{folder}: " + ("cancelled" if end(folder) else "nothing was running"))


@app.command()
def evaluate(
    folder: RunFolder,
    seeds: Annotated[
        int | None,
        option("--seeds", help="Seed runs of each winner and baseline.", default="those of the run"),
    ] = None,
) -> None:
    """Score the winners on the sealed test, once.

    Each winner and each untuned baseline is trained again with several seeds before.
    """
    from tune_brain.stages.evaluate import evaluate as evaluate_all

    typer.echo(evaluate_all(folder, seeds))


@app.command()
def report(folder: RunFolder) -> None:
    """Write dashboard.html, one file that works offline."""
    from tune_brain.report.page import write_page

    typer.echo(write_page(folder))


@app.command()
def export(
    folder: RunFolder,
    to: Annotated[
        Path | None, option("--to", help="New folder for configurations and weights.", default="none")
    ] = None,
    optuna: Annotated[
        Path | None,
        option("--optuna", help="New file for the studies as an Optuna journal.", default="none"),
    ] = None,
) -> None:
    """Write configurations, weights or studies.

    The best configurations with their weights to a folder, the studies to a journal for optuna-dashboard.
    """
    if to is None and optuna is None:
        raise ConfigError("export needs --to DIR, --optuna FILE or both", found="neither")
    if to is not None:
        from tune_brain.export import export as write_models

        typer.echo(write_models(folder, to))
    if optuna is not None:
        from tune_brain.stages.search import write_studies

        typer.echo(write_studies(folder, optuna))


@app.command()
def train(
    file: Annotated[Path, typer.Argument(help="A winner's file, winners/<arch>.toml.", show_default=False)],
    to: Annotated[
        Path | None, option("--to", help="Folder for rows and weights.", default="<file>-again")
    ] = None,
) -> None:
    """Train one configuration again as it was."""
    from tune_brain.stages.train import train as train_again

    typer.echo(train_again(file, to or file.with_name(f"{file.stem}-again")))


@app.command("demo-data")
def demo_data(
    folder: Annotated[Path, typer.Argument(help="New folder for the images.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Decides the images.", min=0)] = 0,
) -> None:
    """Write the built-in demo images to a folder."""
    from tune_brain.data.demo import write_demo

    write_demo(folder, seed=seed)
    typer.echo(folder)


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
    from tune_brain.data.audit import audit as look_through
    from tune_brain.data.findings import faults, terminal
    from tune_brain.progress import Progress
    from tune_brain.report.explore import write_audit

    with Progress().bar("audit") as progress:
        found = look_through(folder, progress)
    for line in terminal(found.facts):
        typer.echo(line)
    for path in write_audit(found, to):
        typer.echo(path)
    if strict and (wrong := faults(found.facts)):
        for line in wrong:
            typer.echo(f"tune-brain: {line}", err=True)
        raise typer.Exit(1)


@contextmanager
def _ray_starting(config: RunConfig) -> Iterator[None]:
    """Let Ray start while torch is imported and images are decoded."""
    from tune_brain import compute

    with compute.session(config):
        yield


def _refuse_at_once(config: RunConfig) -> None:
    """What can be refused at once is refused before Ray starts."""
    spaces_for(config)
    if config.data is not None:
        scan(config.data)


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
        print(f"tune-brain: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
