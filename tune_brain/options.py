"""The options of the commands that search and train: one table, and what they ask for as a configuration."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tune_brain.config import RunConfig, check
from tune_brain.errors import ConfigError
from tune_brain.parse import final_round, rungs, seconds
from tune_brain.runs import read_config

DEMO: dict[str, Any] = {
    "configs": 4,
    "ladder": (3, 9),
    "final_round": (2, 1),
    "image_size": 48,
    "seeds": 2,
}
"""What a run on the demo images asks for where the user does not: minutes on two cores."""


def option(*names: str, help: str, default: str) -> Any:
    """An option that is None when it is not given, with its true default shown."""
    return typer.Option(*names, help=help, show_default=default)


def _shown(name: str, unit: str = "", joint: str = ",") -> str:
    demo = f"; demo {_plain(DEMO[name], joint)}" if name in DEMO else ""
    return f"{_plain(RunConfig.model_fields[name].default, joint)}{unit}{demo}"


def _plain(value: Any, joint: str) -> str:
    return joint.join(map(str, value)) if isinstance(value, tuple) else str(value)


_FULL = f"{RunConfig.model_fields['ladder'].default[-1]}; demo {DEMO['ladder'][-1]}"

OPTIONS: dict[str, tuple[Any, str, str]] = {
    "data": (Path, "Folder of images in class folders.", "built-in demo images"),
    "out": (Path, "New folder for the run.", "results/<data>, numbered if taken"),
    "config": (Path, "run.toml of a run to repeat; other options override it.", "none"),
    "arch": (list[str], "Architecture to search; give it once for each.", "all four"),
    "configs": (
        int,
        "Configurations sampled for each architecture, the untuned baseline not counted.",
        _shown("configs"),
    ),
    "epochs": (int, "Full length of a trial, in epochs, the ladder's top.", _FULL),
    "ladder": (
        str,
        "Lengths of trials in epochs, rising. Each is a complete one-cycle; one of a twelfth of the "
        "longest or less is its beginning. One number trains every configuration at full length.",
        _shown("ladder") + "; with --epochs N alone 1,N",
    ),
    "sampler": (
        str,
        "Where configurations come from: tpe, halton-tpe, halton, gp or random.",
        _shown("sampler"),
    ),
    "final_round": (
        str,
        "KxR: the best K full-length trials are trained again with R further seeds each; the best "
        "on average wins. K is at least 2; 0x0 for none.",
        _shown("final_round", joint="x"),
    ),
    "until_converged": (
        bool,
        "End an architecture's study when further configurations would bring no more than seeds "
        "differ by, and leave its slots to the others.",
        "no",
    ),
    "image_size": (int, "Side of the images trained on.", _shown("image_size", " px")),
    "spaces": (Path, "Folder of space files, <arch>.toml.", "those of tune_brain"),
    "warm_start": (
        Path,
        "An earlier run, of these or other images: its best configurations are tried first.",
        "none",
    ),
    "time_budget": (
        str,
        "No trial starts after it: 90s, 30m, 2h, 1h30m, or none; it begins anew with resume and "
        "extend. Trials that run are finished.",
        "none",
    ),
    "trial_timeout": (
        str,
        "A trial that trains for longer hangs: it is ended, and fails. 90s, 30m, 2h, or none.",
        "none",
    ),
    "disk_budget": (
        str,
        "Room for the checkpoints from which interrupted trials go on: 500MB, 4GB.",
        RunConfig.model_fields["disk_budget"].default.human_readable(decimal=True),
    ),
    "concurrency": (int, "Trials at a time.", "one a CPU, or what the GPUs hold"),
    "gpus_per_trial": (float, "GPUs a trial takes; fractions share one.", "1 if there are any"),
    "address": (str, "A running Ray cluster; `auto` finds it, `local` is this machine alone.", "local"),
    "seed": (int, "Decides the split and every trial.", _shown("seed")),
    "weights": (
        str,
        "Where resnet34 starts: imagenet, the path of a state dict, or none for random weights.",
        "imagenet; the demo falls back to none",
    ),
    "precision": (str, "auto (the faster, measured), fp32 or bf16.", _shown("precision")),
    "seeds": (int, "Seed runs of each winner and baseline.", _shown("seeds")),
}
"""The options of a run by the names of their parameters: type, help, default as it is shown."""


def takes_options(
    *names: str, default: str | None = None, **arguments: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that takes one dict of what the user gave these options; if none is named, all.

    Args:
        names: options of the table.
        default: shown in place of their own.
        arguments: further annotated parameters, which the user has to give.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        taken = dict(arguments)
        for name in names or OPTIONS:
            kind, help, shown = OPTIONS[name]
            taken[name] = Annotated[kind | None, option(help=help, default=default or shown)]

        def wrapped(**given: Any) -> None:
            command({name: value for name, value in given.items() if value is not None})

        # Typer reads a command's options off its signature.
        wrapped.__name__, wrapped.__doc__, wrapped.__annotations__ = command.__name__, command.__doc__, taken
        wrapped.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=inspect.Parameter.empty if name in arguments else None,
                    annotation=kind,
                )
                for name, kind in taken.items()
            ]
        )
        return wrapped

    return decorate


def changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """What options ask for as fields of `RunConfig`, nothing added.

    Raises:
        ConfigError: an option breaks a rule.
    """
    asked = dict(given)
    if "arch" in given:
        asked["arch"] = tuple(given["arch"])
    if "final_round" in given:
        asked["final_round"] = final_round(given["final_round"])
    for name in ("time_budget", "trial_timeout"):
        if name in given:
            asked[name] = None if given[name] == "none" else seconds(name, given[name])
    if given.get("address") == "local":
        asked["address"] = None
    return asked


def run_config(given: Mapping[str, Any]) -> RunConfig:
    """What the options ask for, over a repeated run's or the demo's configuration, over the defaults.

    Raises:
        ConfigError: an option breaks a rule.
    """
    asked = changes({name: value for name, value in given.items() if name not in ("config", "epochs")})
    if "epochs" in given or "ladder" in given:
        asked["ladder"] = _ladder(given.get("epochs"), given.get("ladder"))
    asked = _base(given) | asked
    name = asked["data"].resolve().name if "data" in asked else "demo"
    return check(RunConfig, {"out": _free(Path("results") / name)} | asked, "An option")


def _base(given: Mapping[str, Any]) -> dict[str, Any]:
    if "config" in given:
        return read_config(given["config"], Path()).model_dump(
            exclude={"out", "warm_start"}, exclude_none=True
        )
    return {} if "data" in given else dict(DEMO)


def _free(path: Path) -> Path:
    taken, number = path, 1
    while taken.exists():
        number += 1
        taken = path.with_name(f"{path.name}-{number}")
    return taken


def _ladder(epochs: int | None, ladder: str | None) -> tuple[int, ...]:
    if ladder is None:
        assert epochs is not None
        return tuple(sorted({RunConfig.model_fields["ladder"].default[0], epochs}))
    lengths = rungs(ladder)
    if epochs is not None and lengths[-1] != epochs:
        raise ConfigError("--ladder must end with --epochs", found=f"{ladder} and {epochs}")
    return lengths
