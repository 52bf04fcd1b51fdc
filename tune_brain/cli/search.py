"""Commands for searches: run, search, resume, extend, status, cancel."""

from typing import Any

import typer

from tune_brain.cli.options import OPTIONS, changes, run_config, takes_options
from tune_brain.cli.program import RunFolder, RunOrRuns, app
from tune_brain.config import RunConfig, check_seeds
from tune_brain.data.catalogue import scan
from tune_brain.errors import ConfigError
from tune_brain.runs import check_new, check_writable, spaces_for
from tune_brain.text import quoted


@app.command()
@takes_options()
def run(given: dict[str, Any]) -> None:
    """Search, evaluate, report and export.

    The winners are retrained with several seeds, and the sealed test is opened once.
    """
    config = run_config(given)
    check_seeds(config)
    _check_early(config)
    from tune_brain import compute

    with compute.session(config):  # Ray starts while torch is imported and images are decoded
        from tune_brain.stages.search import search as search_stage

        folder = search_stage(config)
        from tune_brain.stages.evaluate import evaluate as evaluate_stage

        evaluate_stage(folder)
    from tune_brain.export.write import export as export_stage
    from tune_brain.report.page import write_page

    write_page(folder)
    export_stage(folder, folder / "export")
    typer.echo(f"scores     {folder / 'scores.json'}")
    typer.echo(f"dashboard  {folder / 'dashboard.html'}")
    typer.echo(f"models     {folder / 'export'}")
    typer.echo(f"open it    tune-brain serve {quoted(folder / 'export' / 'ensemble')}")


@app.command()
@takes_options(*(name for name in OPTIONS if name != "seeds"))
def search(given: dict[str, Any]) -> None:
    """Search, and choose the winners on validation."""
    config = run_config(given)
    _check_early(config)
    from tune_brain import compute

    with compute.session(config):  # Ray starts while torch is imported and images are decoded
        from tune_brain.stages.search import search as search_stage

        folder = search_stage(config)
    typer.echo(folder / "winners")


@app.command()
@takes_options("address", "concurrency", "gpus_per_trial", default="as before", folder=RunFolder)
def resume(given: dict[str, Any]) -> None:
    """Continue an interrupted search.

    It uses the same machines as before, or from now on those that the options choose.
    """
    from tune_brain.stages.resume import resume as resume_stage

    folder = given.pop("folder")
    typer.echo(resume_stage(folder, changes(given)) / "winners")


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
    """Extend a search and continue it.

    By more configurations, more time, further architectures (--arch names those to add, and --weights the
    initial weights of resnet34 if it is one of them), wider ranges (--spaces) or a larger final round
    (--final-round). Nothing is trained twice.
    """
    from tune_brain.stages.extend import extend as extend_stage

    folder = given.pop("folder")
    typer.echo(extend_stage(folder, changes(given)) / "winners")


@app.command()
def status(folder: RunOrRuns) -> None:
    """Show what a run is doing, or list the runs of a folder."""
    from tune_brain.stages.status import status as status_stage

    status_stage(folder)


@app.command()
def cancel(folder: RunFolder) -> None:
    """Cancel the command that is writing to a run."""
    from tune_brain.stages.status import cancel as cancel_stage

    typer.echo(f"{folder}: " + ("cancelled" if cancel_stage(folder) else "nothing was running"))


def _check_early(config: RunConfig) -> None:
    """Check before Ray starts what can be checked quickly: folders, spaces and the image folder."""
    if config.data is not None and config.out.resolve().is_relative_to(config.data.resolve()):
        raise ConfigError(
            "--out must not be inside the image folder, where later commands would take it for images",
            found=config.out,
            remedy="Choose another --out.",
        )
    check_new(config.out)
    spaces = spaces_for(config)
    check_writable(config.out)
    if config.warm_start is not None:
        from tune_brain.stages.warm import warmed  # imported only if needed, since it delays Ray's start

        warmed(spaces, config.warm_start)
    if config.data is not None:
        scan(config.data)
