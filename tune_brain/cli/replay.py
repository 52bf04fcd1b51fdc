"""The command that simulates other searches: replay."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tune_brain.cli.options import option
from tune_brain.cli.parse import final_round as parse_final_round
from tune_brain.cli.parse import rungs, several
from tune_brain.cli.program import OtherRuns, RunFolder, app


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
        str | None,
        option("--slots", help="Numbers of trials at a time to compare: 2,8,32.", default="the run's"),
    ] = None,
    budget: Annotated[
        str | None,
        option("--budget", help="Multiples of the run's configurations to compare: 0.5,1,2.", default="1"),
    ] = None,
    final_round: Annotated[
        str | None, option("--final-round", help="Final rounds to compare: 0x0,3x2.", default="the run's")
    ] = None,
    until_converged: Annotated[
        bool,
        typer.Option("--until-converged", help="Also replay with ending each study when it has converged."),
    ] = False,
    warm_start: Annotated[
        Path | None,
        option(
            "--warm-start", help="An earlier run; also replay with a start from its best.", default="none"
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Replays of each variant.")] = 100,
) -> None:
    """Simulate other samplers, ladders and budgets on this search's trials.

    Uses its own trials, and those of further runs with the same spaces and images, with a simulated clock.
    Prints a table and writes replay.json and replay.html.
    """
    given: dict[str, tuple[str | None, str, Callable[[str], Any]]] = {
        "sampler": (sampler, ",", str),
        "ladder": (ladder, "/", rungs),
        "slots": (slots, ",", int),
        "budget": (budget, ",", float),
        "final_round": (final_round, ",", parse_final_round),
    }
    compared = {
        name: several(name, values, separator, kind)
        for name, (values, separator, kind) in given.items()
        if values is not None
    }
    if until_converged:
        compared["until_converged"] = (False, True)
    from tune_brain.stages.replay import replay as replay_stage

    file = replay_stage([folder, *(others or [])], compared, repeats, warm_start)
    from tune_brain.report.replays import describe, write_replay

    for line in describe(file):
        typer.echo(line)
    typer.echo(file)
    typer.echo(write_replay(file))
