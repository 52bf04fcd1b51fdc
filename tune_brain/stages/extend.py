"""Extend a search: more configurations, time or architectures, wider ranges, a larger final round.

Nothing is trained twice.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_brain import space
from tune_brain.config import PRETRAINED, RunConfig, check, check_precision, check_seeds
from tune_brain.errors import ConfigError
from tune_brain.records import by_arch, trials_of
from tune_brain.runs import Run
from tune_brain.search.convergence import convergence
from tune_brain.space import Space
from tune_brain.stages.preconditions import check_search_is_open
from tune_brain.stages.resume import continue_search


def extend(folder: Path, given: Mapping[str, Any]) -> Path:
    """Extend a search as `extended` describes and continue it; returns the run's folder."""
    return continue_search(folder, lambda run: extended(run, given))


def extended(run: Run, given: Mapping[str, Any]) -> Run:
    """The run with its request extended; nothing is written.

    Trained trials stay, and every later decision follows from the rows, as in a search that had asked for
    this from the start. The two differ only by what the shorter search did because it came to its end: it
    promoted the best trial of rungs with fewer than three trials, and it retrained its finalists if it has a
    final round. With one trial at a time, the extended leaderboard therefore equals that of the long search
    if the shorter one had neither such a promotion nor a final round. Otherwise these additional trials
    remain: TPE learns from the promoted ones and may sample differently afterwards, and the former finalists
    compete with the new ones, with as many seeds.

    Args:
        run: the run.
        given: the fields of `RunConfig` to change, with the architectures to add in `arch`.

    Raises:
        ConfigError: the request is smaller than before, a space is not wider, wider ranges or a larger number
            have no effect because studies have converged, or the run's weights or precision do not fit an
            added architecture.
        SealedTestError: the run's test has been opened.
        RunFolderError: the seed runs of its winners have begun.
    """
    check_search_is_open(run.folder)
    added = tuple(arch for arch in given.get("arch", ()) if arch not in run.config.arch)
    changed = {**given, "arch": run.config.arch + added}
    config = check(RunConfig, {**run.config.model_dump(), **changed}, "An option")
    if config.configs < run.config.configs:
        raise ConfigError(
            "An extension cannot lower the number of configurations",
            found=f"{config.configs} after {run.config.configs}",
        )
    if any(now < before for now, before in zip(config.final_round, run.config.final_round, strict=True)):
        raise ConfigError(
            "An extension cannot shrink the final round, neither its trials nor its seeds",
            found="{}x{} after {}x{}".format(*config.final_round, *run.config.final_round),
        )
    if (PRETRAINED in run.config.arch or PRETRAINED not in added) and config.weights != run.config.weights:
        raise ConfigError(
            f"--weights can only be given when {PRETRAINED} is added",
            found=f"{config.weights} after {run.config.weights}",
            remedy="Leave --weights out, or start a new run.",
        )
    check_seeds(config)
    for arch in added:
        check_precision(arch, config.image_size, config.precision)
    # Without --spaces the configuration names the run's own copies, which lack the added architectures.
    folder = config.spaces if "spaces" in given else None
    spaces = space.load(folder or space.default_folder(), added)
    if folder is not None:
        spaces |= _wider_spaces(run.spaces, folder)
    _check_more_is_sampled(run, config, spaces)
    return Run(config, {**run.spaces, **spaces})


def _wider_spaces(before: Mapping[str, Space], folder: Path) -> dict[str, Space]:
    """The spaces of the run's architectures as the files in `folder` widen them."""
    wider = space.load(folder, tuple(before))
    for arch, old in before.items():
        new = wider[arch]
        # A baseline holds every tuned name, so that these are the same, too.
        same = new.fixed == old.fixed and new.baseline == old.baseline
        if not same or not all(new.tuned[name].contains(limits) for name, limits in old.tuned.items()):
            raise ConfigError(
                "A space may only grow wider: its names, fixed values and baseline stay, no range shrinks",
                found=str(folder / f"{arch}.toml"),
            )
    # The configurations of a warm start stay the first ones.
    return {arch: wider[arch].model_copy(update={"first": old.first}) for arch, old in before.items()}


def _check_more_is_sampled(run: Run, config: RunConfig, spaces: Mapping[str, Space]) -> None:
    """Refuse wider ranges, or more configurations, of which the studies would sample nothing."""
    rows = by_arch(trials_of(run.folder), run.config.arch)
    before = run.spaces
    wider = [arch for arch in before if spaces.get(arch, before[arch]).tuned != before[arch].tuned]
    for arch in wider:
        if max((row.configuration for row in rows[arch]), default=0) >= config.configs:
            raise ConfigError(
                "Wider ranges have no effect on a study whose configurations are all sampled",
                found=f"{arch} with its {config.configs}",
                remedy="Add --configs with a larger total.",
            )
    if not config.until_converged:
        return
    studies = {arch: convergence(rows[arch], config.ladder[0]) for arch in before}
    converged = {arch: study for arch, study in studies.items() if study and study.reached}
    wider = [arch for arch in wider if arch in converged]
    # Others of the run's studies, or an added one, may still need more.
    more = config.configs > run.config.configs and len(converged) == len(config.arch)
    if refused := wider or (list(converged) if more else []):
        raise ConfigError(
            "A study that has converged samples no more configurations, so "
            + ("wider ranges have no effect" if wider else "a larger number has no effect"),
            found=f"{refused[0]}: {converged[refused[0]].reason}",
            remedy="Add --no-until-converged; or resume the search first, if trials of it are unfinished.",
        )
