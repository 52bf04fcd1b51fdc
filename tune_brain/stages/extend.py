"""The extension of a search by configurations, time, architectures, ranges or seeds; nothing is run twice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_brain import space
from tune_brain.config import PRETRAINED, RunConfig, check, check_precision, check_seeds
from tune_brain.errors import ConfigError
from tune_brain.runs import Run
from tune_brain.space import Range, Space
from tune_brain.stages.preconditions import check_search_is_open
from tune_brain.stages.resume import go_on


def extend(folder: Path, given: Mapping[str, Any]) -> Path:
    """Ask more of a search, and go on with it; see `extended`. Returns the run's folder."""
    return go_on(folder, lambda run: extended(run, given))


def extended(run: Run, given: Mapping[str, Any]) -> Run:
    """What a run asks for when it asks for more; nothing is written.

    The rule: what is trained stays, and every later step is taken from the rows as in a search that had asked
    for this from the start. The shorter search differs from that one only by what it did because it came to
    its end: it promoted the best of a rung of which a third was less than one, of which the sampler hears,
    and it trained its finalists again where there is a final round. So with one trial at a time the extended
    leaderboard is that of the long search where the shorter one had no such promotion and no final round.
    Otherwise those trials stand beside it: what TPE samples after such a promotion may differ, and former
    finalists stand for choice beside the new ones, with as many seeds.

    Args:
        run: the run.
        given: the fields of `RunConfig` to change, with the architectures to add in `arch`.

    Raises:
        ConfigError: what is asked for is less than before, a space is not wider, or the run's weights or
            precision do not fit an architecture that is added.
        SealedTestError: the run's test has been opened.
        RunFolderError: its winners have been trained again.
    """
    check_search_is_open(run.folder)
    added = tuple(arch for arch in given.get("arch", ()) if arch not in run.config.arch)
    changed = {**given, "arch": run.config.arch + added}
    config = check(RunConfig, {**run.config.model_dump(), **changed}, "An option")
    if config.configs < run.config.configs:
        raise ConfigError(
            "A search is extended to at least as many configurations",
            found=f"{config.configs} after {run.config.configs}",
        )
    if any(now < before for now, before in zip(config.final_round, run.config.final_round, strict=True)):
        raise ConfigError(
            "A final round may only grow, in trials and in seeds",
            found="{}x{} after {}x{}".format(*config.final_round, *run.config.final_round),
        )
    if (PRETRAINED in run.config.arch or PRETRAINED not in added) and config.weights != run.config.weights:
        raise ConfigError(
            f"The weights that {PRETRAINED} starts from are named when it is added",
            found=f"{config.weights} after {run.config.weights}",
            remedy="Leave --weights out, or start a new run.",
        )
    check_seeds(config)
    for arch in added:
        check_precision(arch, config.image_size, config.precision)
    return Run(config, {**run.spaces, **_new_spaces(run.spaces, given.get("spaces"), added)})


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
