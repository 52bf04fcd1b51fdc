"""The extension of a search by configurations, time, architectures or wider ranges; nothing is run twice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_brain import lock, runs, space
from tune_brain.config import RunConfig, check
from tune_brain.errors import ConfigError, RunFolderError, SealedTestError
from tune_brain.space import Range, Space


def extend(folder: Path, given: Mapping[str, Any]) -> RunConfig:
    """Change what a run asks for; `resume` then goes on from its rows.

    The rule: what is trained stays, and every later step is taken from the rows as in a search that had asked
    for this from the start. The shorter search differs from that one only by what it did because it came to
    its end: it promoted the best of a rung of which a third was less than one, and the sampler hears of that.
    So with one trial at a time the extended leaderboard is that of the long search where no such promotion
    was made; otherwise those promotions stand beside it, and what TPE samples after them may differ.

    Args:
        folder: the run.
        given: the fields of `RunConfig` to change, with the architectures to add in `arch`.

    Returns:
        What the run asks for now.

    Raises:
        ConfigError: what is asked for is less than before, or a space is not wider.
        SealedTestError: the run's test has been opened.
        RunFolderError: its winners have been trained again.
    """
    run = runs.open_run(folder)
    if (folder / "sealed.json").exists():
        raise SealedTestError(
            "A search is extended before its test is opened, since what follows would be chosen knowing it",
            found=f"{folder} has its scores",
            remedy=f"Start a new run: tune-brain search --config {folder / 'run.toml'} --configs N",
        )
    if (folder / "seed_runs.jsonl").exists():
        raise RunFolderError(
            "A search is extended before its winners are trained again, since it may find others",
            found=f"{folder / 'seed_runs.jsonl'}",
            remedy="Move it aside to give those seed runs up, and extend then.",
        )
    added = tuple(arch for arch in given.get("arch", ()) if arch not in run.config.arch)
    changed = {**given, "arch": run.config.arch + added}
    config = check(RunConfig, {**run.config.model_dump(), **changed}, "The options")
    if config.configs < run.config.configs:
        raise ConfigError(
            "A search is extended to at least as many configurations",
            found=f"{config.configs} after {run.config.configs}",
        )
    spaces = {**run.spaces, **_new_spaces(run.spaces, given.get("spaces"), added)}
    with lock.hold(folder):
        runs.create(config, spaces)
    return config


def _new_spaces(before: Mapping[str, Space], spaces: Path | None, added: tuple[str, ...]) -> dict[str, Space]:
    """The spaces of new architectures, and those of the old ones where a folder of wider ones is given."""
    fresh = space.load(spaces or space.default_folder(), added)
    if spaces is None:
        return fresh
    wider = space.load(spaces, tuple(before))
    for arch, old in before.items():
        new = wider[arch]
        same = (
            new.fixed == old.fixed and new.baseline == old.baseline and new.tuned.keys() == old.tuned.keys()
        )
        if not same or not all(_contains(new.tuned[name], limits) for name, limits in old.tuned.items()):
            raise ConfigError(
                "A space may only grow wider: its names, fixed values and baseline stay, no range shrinks",
                found=str(spaces / f"{arch}.toml"),
            )
    # A warm start stays what it was.
    kept = {arch: wider[arch].model_copy(update={"first": old.first}) for arch, old in before.items()}
    return {**fresh, **kept}


def _contains(new: Range, old: space.Range) -> bool:
    return new.log == old.log and new.low <= old.low and new.high >= old.high
