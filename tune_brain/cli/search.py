"""Commands that search: run, search, resume, extend, status, cancel."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from tune_brain.cli.program import RunFolder, app
from tune_brain.config import RunConfig, check_seeds
from tune_brain.data.catalogue import scan
from tune_brain.errors import ConfigError
from tune_brain.options import OPTIONS, changes, run_config, takes_options
from tune_brain.runs import check_writable, spaces_for
from tune_brain.text import quoted


@app.command()
@takes_options()
def run(given: dict[str, Any]) -> None:
    """Search, evaluate, report and export.

    The winners are trained again with several seeds, and the sealed test is opened once.
    """
    asked = run_config(given)
    check_seeds(asked)
    _refuse_at_once(asked)
    with _ray_starting(asked):
        from tune_brain.stages.search import search as search_all

        folder = search_all(asked)
        from tune_brain.stages.evaluate import evaluate as evaluate_all

        evaluate_all(folder)
    from tune_brain.export.write import export as write_models
    from tune_brain.report.page import write_page

    write_page(folder)
    write_models(folder, folder / "export")
    typer.echo(f"scores     {folder / 'scores.json'}")
    typer.echo(f"dashboard  {folder / 'dashboard.html'}")
    typer.echo(f"models     {folder / 'export'}")
    typer.echo(f"open it    tune-brain serve {quoted(folder / 'export' / 'ensemble')}")


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
@takes_options("address", "concurrency", "gpus_per_trial", default="as before", folder=RunFolder)
def resume(given: dict[str, Any]) -> None:
    """Go on with an interrupted search.

    On the machines that it ran on, or on those that the options name from now on.
    """
    from tune_brain.stages.resume import resume as go_on

    folder = given.pop("folder")
    typer.echo(go_on(folder, changes(given)) / "winners")


@app.command()
@takes_options(
    "configs",
    "arch",
    "spaces",
    "weights",
    "final_round",
    "until_converged",
    "time_budget",
    "trial_timeout",
    "address",
    "concurrency",
    "gpus_per_trial",
    default="as before",
    folder=RunFolder,
)
def extend(given: dict[str, Any]) -> None:
    """Ask more of a search, and go on with it.

    More configurations, more time, more architectures (--arch names those to add, --weights where resnet34
    starts if it is one of them), wider ranges (--spaces) or a larger final round (--final-round). Nothing is
    run twice.
    """
    from tune_brain.stages.extend import extend as ask_more

    folder = given.pop("folder")
    typer.echo(ask_more(folder, changes(given)) / "winners")


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


@contextmanager
def _ray_starting(config: RunConfig) -> Iterator[None]:
    """Let Ray start while torch is imported and images are decoded."""
    from tune_brain import compute

    with compute.session(config):
        yield


def _refuse_at_once(config: RunConfig) -> None:
    """What can be refused at once is refused before Ray starts."""
    if config.data is not None and config.out.resolve().is_relative_to(config.data.resolve()):
        raise ConfigError(
            "A run's folder lies outside its images, among which later commands would look through it",
            found=config.out,
            remedy="Name another --out.",
        )
    spaces = spaces_for(config)
    check_writable(config.out)
    if config.warm_start is not None:
        from tune_brain.stages.warm import warmed  # a moment that Ray would start later

        warmed(spaces, config.warm_start)
    if config.data is not None:
        scan(config.data)
