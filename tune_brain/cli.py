"""`tune-brain`: each command parses its options and calls one stage.

Stages are imported inside the commands, so that `--help` and a mistyped option do not wait for torch.
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tune_brain import __version__
from tune_brain.config import RunConfig, check
from tune_brain.errors import ConfigError, TuneBrainError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Search learning rate, weight decay and gradient clipping of four architectures on MRI classes, "
    "then score the winners on a test set that was sealed until they stood. Not a medical device.",
)

DEMO: dict[str, Any] = {"configs": 4, "ladder": (2, 6), "image_size": 48, "seeds": 2}
"""What a run on the demo images asks for where the user does not: minutes on two cores."""

_DEFAULTS = {name: field.default for name, field in RunConfig.model_fields.items()}


def _shown(name: str, unit: str = "") -> str:
    value = _DEFAULTS[name]
    plain = ",".join(map(str, value)) if isinstance(value, tuple) else value
    demo = (
        f"; demo {','.join(map(str, DEMO[name])) if name == 'ladder' else DEMO[name]}" if name in DEMO else ""
    )
    return f"{plain}{unit}{demo}"


def _option(*names: str, help: str, default: str) -> Any:
    return typer.Option(*names, help=help, show_default=default)


RunFolder = Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)]

Data = Annotated[
    Path | None, _option("--data", help="Folder of images in class folders.", default="built-in demo images")
]
Out = Annotated[
    Path | None,
    _option("--out", help="New folder for the run.", default="results/<data>, numbered if taken"),
]
ConfigFile = Annotated[
    Path | None,
    _option("--config", help="run.toml of a run to repeat; other options override it.", default="none"),
]
Arch = Annotated[
    list[str] | None,
    _option("--arch", help="Architecture to search; give it once for each.", default="all four"),
]
Configs = Annotated[
    int | None,
    _option(
        "--configs",
        help="Configurations sampled for each architecture, the untuned baseline not counted.",
        default=_shown("configs"),
    ),
]
Epochs = Annotated[
    int | None,
    _option("--epochs", help="Full length of a trial, in epochs, the ladder's top.", default="12; demo 6"),
]
Ladder = Annotated[
    str | None,
    _option(
        "--ladder",
        help="Lengths of trials in epochs, rising; each is a complete one-cycle. One number trains every "
        "configuration at full length.",
        default=_shown("ladder") + "; with --epochs N alone N/4,N/2,N",
    ),
]
ImageSize = Annotated[
    int | None,
    _option(
        "--image-size",
        help="Side of the images trained on.",
        default=_shown("image_size", " px"),
    ),
]
Spaces = Annotated[
    Path | None,
    _option("--spaces", help="Folder of space files, <arch>.toml.", default="those of tune_brain"),
]
TimeBudget = Annotated[
    str | None,
    _option(
        "--time-budget",
        help="No trial starts after it: 90s, 30m, 2h, 1h30m. Trials that run are finished.",
        default="none",
    ),
]
Concurrency = Annotated[
    int | None, _option("--concurrency", help="Trials at a time.", default="one a CPU, or what the GPUs hold")
]
GpusPerTrial = Annotated[
    float | None,
    _option(
        "--gpus-per-trial", help="GPUs a trial takes; fractions share one.", default="1 if there are any"
    ),
]
Address = Annotated[
    str | None,
    _option("--address", help="A running Ray cluster; `auto` finds it.", default="this machine alone"),
]
Seed = Annotated[
    int | None,
    _option("--seed", help="Decides the split and every trial.", default=_shown("seed")),
]
Weights = Annotated[
    str | None,
    _option(
        "--weights",
        help="Where resnet34 starts: imagenet, the path of a state dict, or none for random weights.",
        default="imagenet; the demo falls back to none",
    ),
]
Precision = Annotated[
    str | None,
    _option("--precision", help="auto (the faster, measured), fp32 or bf16.", default=_shown("precision")),
]
Seeds = Annotated[
    int | None,
    _option("--seeds", help="Seed runs of each winner and baseline.", default=_shown("seeds")),
]


@app.command()
def run(
    data: Data = None,
    out: Out = None,
    config: ConfigFile = None,
    arch: Arch = None,
    configs: Configs = None,
    epochs: Epochs = None,
    ladder: Ladder = None,
    image_size: ImageSize = None,
    spaces: Spaces = None,
    time_budget: TimeBudget = None,
    concurrency: Concurrency = None,
    gpus_per_trial: GpusPerTrial = None,
    address: Address = None,
    seed: Seed = None,
    weights: Weights = None,
    precision: Precision = None,
    seeds: Seeds = None,
) -> None:
    """Search, train the winners again, open the sealed test once, report and export."""
    asked = _run_config(
        data, out, config, arch, configs, epochs, ladder, image_size, spaces, time_budget, concurrency,
        gpus_per_trial, address, seed, weights, precision, seeds,
    )  # fmt: skip
    from tune_brain import compute, stages
    from tune_brain.export import export as write_models
    from tune_brain.report.page import write_page

    with compute.session(asked):
        folder = stages.search(asked)
        stages.evaluate(folder)
    write_page(folder)
    write_models(folder, folder / "export")
    typer.echo(f"scores     {folder / 'scores.json'}")
    typer.echo(f"dashboard  {folder / 'dashboard.html'}")
    typer.echo(f"models     {folder / 'export'}")


@app.command()
def search(
    data: Data = None,
    out: Out = None,
    config: ConfigFile = None,
    arch: Arch = None,
    configs: Configs = None,
    epochs: Epochs = None,
    ladder: Ladder = None,
    image_size: ImageSize = None,
    spaces: Spaces = None,
    time_budget: TimeBudget = None,
    concurrency: Concurrency = None,
    gpus_per_trial: GpusPerTrial = None,
    address: Address = None,
    seed: Seed = None,
    weights: Weights = None,
    precision: Precision = None,
) -> None:
    """Search the configurations and write the winners, chosen on validation."""
    asked = _run_config(
        data, out, config, arch, configs, epochs, ladder, image_size, spaces, time_budget, concurrency,
        gpus_per_trial, address, seed, weights, precision, None,
    )  # fmt: skip
    from tune_brain import stages

    typer.echo(stages.search(asked) / "winners")


@app.command()
def resume(folder: RunFolder) -> None:
    """Go on with an interrupted search where its rows end."""
    from tune_brain import stages

    typer.echo(stages.resume(folder) / "winners")


@app.command()
def evaluate(folder: RunFolder, seeds: Seeds = None) -> None:
    """Train each winner again with several seeds, then open the sealed test once."""
    from tune_brain import stages

    typer.echo(stages.evaluate(folder, seeds))


@app.command()
def report(folder: RunFolder) -> None:
    """Write dashboard.html, one file that works offline."""
    from tune_brain.report.page import write_page

    typer.echo(write_page(folder))


@app.command()
def export(
    folder: RunFolder,
    to: Annotated[
        Path | None, _option("--to", help="New folder for configurations and weights.", default="none")
    ] = None,
    optuna: Annotated[
        Path | None,
        _option("--optuna", help="New file for the studies as an Optuna journal.", default="none"),
    ] = None,
) -> None:
    """Write the best configurations and weights, or the studies for optuna-dashboard."""
    if to is None and optuna is None:
        raise ConfigError("export needs --to DIR, --optuna FILE or both", found="neither")
    if to is not None:
        from tune_brain.export import export as write_models

        typer.echo(write_models(folder, to))
    if optuna is not None:
        from tune_brain import stages

        typer.echo(stages.write_studies(folder, optuna))


@app.command()
def train(
    file: Annotated[Path, typer.Argument(help="A winner's file, winners/<arch>.toml.", show_default=False)],
    to: Annotated[
        Path | None, _option("--to", help="Folder for rows and weights.", default="<file>-again")
    ] = None,
) -> None:
    """Train one configuration again as it was."""
    from tune_brain import stages

    typer.echo(stages.train(file, to or file.with_name(f"{file.stem}-again")))


@app.command("demo-data")
def demo_data(
    folder: Annotated[Path, typer.Argument(help="New folder for the images.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Decides the images.", min=0)] = 0,
) -> None:
    """Write the built-in demo images out as a folder of classes."""
    from tune_brain.data.demo import write_demo

    write_demo(folder, seed=seed)
    typer.echo(folder)


def _run_config(
    data: Path | None,
    out: Path | None,
    config: Path | None,
    arch: list[str] | None,
    configs: int | None,
    epochs: int | None,
    ladder: str | None,
    image_size: int | None,
    spaces: Path | None,
    time_budget: str | None,
    concurrency: int | None,
    gpus_per_trial: float | None,
    address: str | None,
    seed: int | None,
    weights: str | None,
    precision: str | None,
    seeds: int | None,
) -> RunConfig:
    """What the options ask for, over a repeated run's or the demo's configuration, over the defaults."""
    given: dict[str, Any] = {
        "data": data,
        "arch": tuple(arch) if arch else None,
        "configs": configs,
        "ladder": _ladder(epochs, ladder),
        "image_size": image_size,
        "spaces": spaces,
        "time_budget": _seconds(time_budget),
        "concurrency": concurrency,
        "gpus_per_trial": gpus_per_trial,
        "address": address,
        "seed": seed,
        "weights": weights,
        "precision": precision,
        "seeds": seeds,
    }
    base: dict[str, Any] = {} if data else dict(DEMO)
    if config is not None:
        from tune_brain.runs import read_config

        base = read_config(config, Path()).model_dump(exclude_none=True)
    asked = base | {name: value for name, value in given.items() if value is not None}
    name = asked["data"].resolve().name if "data" in asked else "demo"
    asked["out"] = out or _free(Path("results") / name)
    return check(RunConfig, asked, "The options")


def _free(path: Path) -> Path:
    taken, number = path, 1
    while taken.exists():
        number += 1
        taken = path.with_name(f"{path.name}-{number}")
    return taken


def _ladder(epochs: int | None, ladder: str | None) -> tuple[int, ...] | None:
    if ladder is None:
        return None if epochs is None else tuple(sorted({max(1, epochs // 4), max(1, epochs // 2), epochs}))
    try:
        rungs = tuple(int(rung) for rung in ladder.split(","))
    except ValueError:
        raise ConfigError("--ladder takes numbers of epochs, as in 3,6,12", found=ladder) from None
    if epochs is not None and rungs[-1] != epochs:
        raise ConfigError("--ladder must end with --epochs", found=f"{ladder} and {epochs}")
    return rungs


def _seconds(duration: str | None) -> float | None:
    if duration is None:
        return None
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?", duration.strip())
    if not match or not any(match.groups()):
        raise ConfigError("--time-budget takes a duration such as 90s, 30m, 2h or 1h30m", found=duration)
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(3600 * hours + 60 * minutes + seconds)


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
