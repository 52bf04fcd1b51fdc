"""The command that asks what if: replay."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tune_brain.cli.program import OtherRuns, RunFolder, app
from tune_brain.options import option
from tune_brain.parse import final_round as round_of
from tune_brain.parse import rungs, several


@app.command()
def replay(
    folder: RunFolder,
    others: OtherRuns = None,
    sampler: Annotated[
        str | None, option("--sampler", help="Samplers to compare: tpe,gp.", default="the run's")
    ] = None,
    ladder: Annotated[
        str | None,
        option(
            "--ladder", help="Ladders to compare, of lengths that were trained: 1,12/12.", default="the run's"
        ),
    ] = None,
    slots: Annotated[
        str | None, option("--slots", help="Trials at a time to compare: 2,8,32.", default="the run's")
    ] = None,
    budget: Annotated[
        str | None, option("--budget", help="Times the run's configurations: 0.5,1,2.", default="1")
    ] = None,
    final_round: Annotated[
        str | None, option("--final-round", help="Final rounds to compare: 0x0,3x2.", default="the run's")
    ] = None,
    until_converged: Annotated[
        bool, typer.Option("--until-converged", help="Compare with ending a study when it has converged.")
    ] = False,
    warm_start: Annotated[
        Path | None,
        option("--warm-start", help="An earlier run; compare with a start from its best.", default="none"),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Replays of each way to search.")] = 100,
) -> None:
    """Say what other ways to search would have found, and when.

    Replays the search on its own trials and those of more runs of its spaces and images, with a simulated
    clock: a table, replay.json and replay.html.
    """
    given: dict[str, tuple[str | None, str, Callable[[str], Any]]] = {
        "sampler": (sampler, ",", str),
        "ladder": (ladder, "/", rungs),
        "slots": (slots, ",", int),
        "budget": (budget, ",", float),
        "final_round": (final_round, ",", round_of),
    }
    asked = {
        name: several(name, values, separator, kind)
        for name, (values, separator, kind) in given.items()
        if values is not None
    }
    if until_converged:
        asked["until_converged"] = (False, True)
    from tune_brain.stages.replay import replay as replay_all

    found = replay_all([folder, *(others or [])], asked, repeats, warm_start)
    from tune_brain.report.replays import told, write_replay

    for line in told(found):
        typer.echo(line)
    typer.echo(found)
    typer.echo(write_replay(found))
