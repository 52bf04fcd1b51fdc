"""The options of the commands that search: one table, and their conversion to a configuration."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tune_brain.cli.parse import final_round, rungs, seconds
from tune_brain.config import RunConfig, check
from tune_brain.errors import ConfigError
from tune_brain.runs import read_config

DEMO: dict[str, Any] = {
    "configs": 4,
    "ladder": (3, 9),
    "final_round": (2, 1),
    "image_size": 48,
    "seeds": 2,
}
"""Defaults of a run on the demo images, which then takes minutes on two cores."""


def option(*names: str, help: str, default: str) -> Any:
    """An option that is None unless given, with its effective default in the help.

    Args:
        names: its flags; if there are none, typer derives them from the parameter.
        help: its description.
        default: the effective default as text.
    """
    return typer.Option(*names, help=help, show_default=default)


def _default(name: str, unit: str = "", separator: str = ",") -> str:
    """The default of a field of `RunConfig` as the help shows it, with that of the demo if it differs."""
    demo = f"; demo {_as_text(DEMO[name], separator)}" if name in DEMO else ""
    return f"{_as_text(RunConfig.model_fields[name].default, separator)}{unit}{demo}"


def _as_text(value: Any, separator: str) -> str:
    return separator.join(map(str, value)) if isinstance(value, tuple) else str(value)


_FULL = f"{RunConfig.model_fields['ladder'].default[-1]}; demo {DEMO['ladder'][-1]}"

OPTIONS: dict[str, tuple[Any, str, str]] = {
    "data": (Path, "Folder of images in class folders.", "built-in demo images"),
    "out": (Path, "New folder for the run.", "results/<data>, numbered if taken"),
    "config": (Path, "run.toml of a run to repeat; other options override it.", "none"),
    "arch": (list[str], "Architecture to search; repeat the option for several.", "all four"),
    "configs": (
        int,
        "Configurations sampled per architecture, not counting the untuned baseline.",
        _default("configs"),
    ),
    "epochs": (int, "Full length of a trial in epochs, the top of the ladder.", _FULL),
    "ladder": (
        str,
        "Trial lengths in epochs, increasing. Each is a complete one-cycle, but lengths up to a twelfth of "
        "the longest are its beginning. One number trains every configuration at full length.",
        _default("ladder") + "; with --epochs N alone 1,N",
    ),
    "sampler": (
        str,
        "How configurations are sampled: tpe, halton-tpe, halton, gp or random.",
        _default("sampler"),
    ),
    "final_round": (
        str,
        "KxR: retrain the best K full-length trials with R further seeds each; the best on average "
        "wins. K is at least 2; 0x0 for none.",
        _default("final_round", separator="x"),
    ),
    "until_converged": (
        bool,
        "End the study of an architecture once further configurations would gain no more than the noise "
        "between seeds, and give its slots to the others.",
        "no",
    ),
    "image_size": (int, "Side of the images trained on.", _default("image_size", " px")),
    "spaces": (Path, "Folder of space files, <arch>.toml.", "those of tune_brain"),
    "warm_start": (
        Path,
        "An earlier run, on the same or other images, whose best configurations are tried first.",
        "none",
    ),
    "time_budget": (
        str,
        "Stop starting trials after this long (90s, 30m, 2h, 1h30m, none); running trials finish. "
        "Restarts on resume and extend.",
        "none",
    ),
    "trial_timeout": (
        str,
        "Kill and fail a trial that trains longer than this (90s, 30m, 2h, none).",
        "none",
    ),
    "disk_budget": (
        str,
        "Disk space for the checkpoints from which interrupted trials continue: 500MB, 4GB.",
        RunConfig.model_fields["disk_budget"].default.human_readable(decimal=True),
    ),
    "concurrency": (int, "Trials at a time.", "one per CPU, or as many as fit on the GPUs"),
    "gpus_per_trial": (float, "GPUs per trial; with a fraction, trials share a GPU.", "1 if there are any"),
    "address": (str, "Address of a running Ray cluster; `auto` finds it, `local` is this machine.", "local"),
    "seed": (int, "Seed of the split, the sampler and every trial.", _default("seed")),
    "weights": (
        str,
        "Initial weights of resnet34: imagenet, the path of a state dict, or none for random weights.",
        "imagenet; the demo falls back to none",
    ),
    "precision": (str, "Arithmetic: auto (the faster one, measured), fp32 or bf16.", _default("precision")),
    "seeds": (int, "Seed runs per winner and baseline.", _default("seeds")),
}
"""The options of a run by parameter name: type, help, and the default as the help shows it."""


def takes_options(
    *names: str, default: str | None = None, **arguments: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command that takes one dict of given options, so that typer offers these options.

    Args:
        names: keys of `OPTIONS`; none means all.
        default: shown in the help in place of the options' own defaults.
        arguments: further annotated parameters, which are required.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        taken = dict(arguments)
        for name in names or OPTIONS:
            kind, help, shown = OPTIONS[name]
            taken[name] = Annotated[kind | None, option(help=help, default=default or shown)]

        def wrapped(**given: Any) -> None:
            command({name: value for name, value in given.items() if value is not None})

        # Typer reads the options from the signature.
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
    """Given options as fields of `RunConfig`, without defaults.

    Args:
        given: values from the command line by option name.

    Raises:
        ConfigError: an option is invalid.
    """
    fields = dict(given)
    if "arch" in given:
        fields["arch"] = tuple(given["arch"])
    if "final_round" in given:
        fields["final_round"] = final_round(given["final_round"])
    for name in ("time_budget", "trial_timeout"):
        if name in given:
            fields[name] = None if given[name] == "none" else seconds(name, given[name])
    if given.get("address") == "local":
        fields["address"] = None
    return fields


def run_config(given: Mapping[str, Any]) -> RunConfig:
    """The configuration of a new run: given options first, then a repeated run or the demo, then defaults.

    Args:
        given: values from the command line by option name.

    Raises:
        ConfigError: an option is invalid.
    """
    fields = changes({name: value for name, value in given.items() if name not in ("config", "epochs")})
    if "epochs" in given or "ladder" in given:
        fields["ladder"] = _ladder(given.get("epochs"), given.get("ladder"))
    fields = _base(given) | fields
    name = fields["data"].resolve().name if "data" in fields else "demo"
    return check(RunConfig, {"out": _unused(Path("results") / name)} | fields, "An option")


def _base(given: Mapping[str, Any]) -> dict[str, Any]:
    if "config" in given:
        return read_config(given["config"], Path()).model_dump(
            exclude={"out", "warm_start"}, exclude_none=True
        )
    return {} if "data" in given else dict(DEMO)


def _unused(path: Path) -> Path:
    """The path, with a number appended if something exists there."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _ladder(epochs: int | None, ladder: str | None) -> tuple[int, ...]:
    if ladder is None:
        assert epochs is not None
        return tuple(sorted({RunConfig.model_fields["ladder"].default[0], epochs}))
    lengths = rungs(ladder)
    if epochs is not None and lengths[-1] != epochs:
        raise ConfigError("--ladder must end with --epochs", found=f"{ladder} and {epochs}")
    return lengths
