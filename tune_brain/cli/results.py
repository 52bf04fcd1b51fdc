"""Commands that work on a run: evaluate, copy, report, dashboard, export, train."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tune_brain.cli.options import changes, option, takes_options
from tune_brain.cli.program import OtherRuns, RunFolder, app
from tune_brain.errors import ConfigError
from tune_brain.layout import SCORES
from tune_brain.text import quoted


@app.command()
@takes_options("seeds", "address", "concurrency", "gpus_per_trial", default="as before", folder=RunFolder)
def evaluate(given: dict[str, Any]) -> None:
    """Score the winners on the sealed test, once.

    Before the test is opened, each winner and each untuned baseline is retrained with several seeds, on the
    machines of the search or those given by the options.
    """
    from tune_brain.stages.evaluate import evaluate as evaluate_all

    folder = given.pop("folder")
    typer.echo(evaluate_all(folder, changes(given)))


@app.command()
def copy(
    source: Annotated[str, typer.Argument(help="Folder of a run, or URL of a copy.", show_default=False)],
    target: Annotated[
        str,
        typer.Argument(help="URL supported by fsspec (s3://, gs://, az://), or a path.", show_default=False),
    ],
    follow: Annotated[
        bool, typer.Option("--follow", help="Repeat twice a minute until no command writes to the run.")
    ] = False,
) -> None:
    """Copy a run to a bucket or another disk, or back.

    Copies rows, winners and scores, but no checkpoints. With --follow during a search, `resume` can continue
    from the copy if the search's machine is lost.
    """
    from tune_brain.copies import copy as copy_run

    copy_run(source, target, follow=follow, report=typer.echo)


@app.command()
def report(folder: RunFolder, others: OtherRuns = None) -> None:
    """Write dashboard.html, one file that works offline; further runs are compared with the first."""
    from tune_brain.report.page import write_page

    typer.echo(write_page(folder, others or ()))


@app.command()
def dashboard(
    folder: RunFolder,
    others: OtherRuns = None,
    host: Annotated[
        str, typer.Option(help="Address of this machine to listen on and for browsers to use.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.", min=0, max=65535)] = 8050,
    browse: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Serve a run's dashboard, live during the search; further runs are compared with the first.

    It only reads files, so it can be started and stopped at any time. Ctrl-C stops the dashboard, not the
    search.
    """
    import webbrowser

    from tune_brain.report.live import application, listen, serve

    site = application([folder, *(others or ())], host)
    listening = listen(host, port)
    url = f"http://{host}:{listening.getsockname()[1]}"
    typer.echo(url)
    if browse:
        webbrowser.open(url)
    serve(site, listening)


@app.command()
def export(
    folder: RunFolder,
    to: Annotated[Path | None, option("--to", help="New folder for the bundles.", default="none")] = None,
    optuna: Annotated[
        Path | None,
        option("--optuna", help="New file for the studies as an Optuna journal.", default="none"),
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write the networks as ONNX.")] = False,
) -> None:
    """Export bundles, studies or both.

    --to writes the winners' configurations and, of an evaluated run, one bundle per winner and one of their
    ensemble; --optuna writes the studies as a journal for optuna-dashboard.
    """
    if to is None and optuna is None:
        raise ConfigError("export needs --to DIR, --optuna FILE or both", found="neither")
    if to is not None:
        from tune_brain.export.write import export as write_models
        from tune_brain.runs import open_run, read_winners
        from tune_brain.stages.preconditions import check_search_has_ended

        evaluated = (folder / SCORES).exists()
        if not evaluated:
            run = open_run(folder)
            read_winners(run)  # says how to find out more if there are none yet
            check_search_has_ended(run)
        typer.echo(write_models(folder, to, onnx=onnx))
        if not evaluated:
            typer.echo(
                f"configurations only; for bundles first: tune-brain evaluate {quoted(folder)}", err=True
            )
    if optuna is not None:
        from tune_brain.stages.search import write_studies

        typer.echo(write_studies(folder, optuna))


@app.command()
def train(
    file: Annotated[
        Path,
        typer.Argument(
            help="A winner's file: winners/<arch>.toml, or configurations/<arch>.toml of a bundle.",
            show_default=False,
        ),
    ],
    to: Annotated[
        Path | None, option("--to", help="Folder for rows and weights.", default="<file>-again")
    ] = None,
    data: Annotated[
        Path | None, option("--data", help="Folder of the images of its search.", default="as in the file")
    ] = None,
    weights: Annotated[
        str | None,
        option("--weights", help="Initial weights of resnet34, or their path.", default="as in the file"),
    ] = None,
) -> None:
    """Retrain a winner's configuration with the same settings and seed."""
    from tune_brain.stages.train import train as retrain

    typer.echo(retrain(file, to or file.with_name(f"{file.stem}-again"), data=data, weights=weights))
