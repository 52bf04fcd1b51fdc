"""The replay stage: what other samplers, ladders and slots would have found in a search, and when."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import Field

from tune_brain import runs
from tune_brain.config import Frozen, RunConfig, Sampler, check
from tune_brain.errors import ConfigError
from tune_brain.evaluate.shrinkage import expected
from tune_brain.evaluate.winners import Choice, choose, full_scores
from tune_brain.progress import Progress
from tune_brain.records import TrialRow, write_json
from tune_brain.search.outcomes import as_searched, read_outcomes, searched
from tune_brain.search.replay import replay as replay_search
from tune_brain.search.surrogate import Surrogate, rank_errors
from tune_brain.stages.warm import warmed


class Variant(Frozen):
    """One way to search."""

    sampler: Sampler
    ladder: tuple[int, ...]
    configs: int
    slots: int = Field(ge=1)
    final_round: tuple[int, int]
    until_converged: bool = False
    warm_start: bool = False

    @property
    def name(self) -> str:
        """How tables and plots call it."""
        finalists, seeds = self.final_round
        again = f", final {finalists}x{seeds}" if finalists * seeds else ""
        rungs = ",".join(map(str, self.ladder))
        until = ", until converged" if self.until_converged else ""
        warm = ", warm start" if self.warm_start else ""
        return f"{self.sampler} {rungs} of {self.configs}{again}{until}{warm}, {self.slots} slots"


def replay(
    folders: Sequence[Path], given: dict[str, tuple[Any, ...]], repeats: int, warm_start: Path | None = None
) -> Path:
    """Replay each study of a run in every way asked for; returns the path of replay.json in its folder.

    Args:
        folders: the run, and others of the same spaces and images whose trials are to be known, too.
        given: what is to vary: `sampler`, `ladder`, `slots`, `budget` (times the run's configurations),
            `final_round` and `until_converged`; what is left out is as it was in the run.
        repeats: replays of each way, each with a seed of its own.
        warm_start: an earlier run to start from; every way is replayed without it and with it.

    Raises:
        ConfigError: a value breaks a rule, or a length was never trained.
        RunFolderError: a run has no trials, or they do not belong together.
    """
    run, progress = runs.open_run(folders[0]), Progress()
    slots = runs.read_record(run.folder).get("slots", 1)
    spaces = warmed(run.spaces, warm_start) if warm_start else run.spaces
    warm = (False, True) if warm_start else (any(space.first for space in run.spaces.values()),)
    asked = variants(run.config, {"slots": (slots,), "warm_start": warm, **given})
    studies, known = [], searched(folders) & set(run.config.arch)
    for arch in run.config.arch:
        if known and arch not in known:
            progress.say(f"{arch} is left out: no trial of it has ended well")
            continue
        trained = read_outcomes(folders, arch)
        outcomes = as_searched(trained)
        if outcomes is trained:
            progress.say(
                f"{arch}: short trials are replayed as they were trained, whole cycles of their own, "
                "since too few came to full length to tell how those would begin"
            )
        outcomes = dataclasses.replace(outcomes, space=spaces[arch])
        with progress.bar(f"replay of {arch}") as bar:
            studies.append(_study(Surrogate(outcomes), asked, repeats, bar))
    path = run.folder / "replay.json"
    write_json(path, {"runs": [str(folder) for folder in folders], "repeats": repeats, "studies": studies})
    return path


def variants(config: RunConfig, given: dict[str, tuple[Any, ...]]) -> list[Variant]:
    """Every combination of what is given, after the yardstick: random search at full length.

    Raises:
        ConfigError: a value breaks a rule.
    """
    ways = {
        "sampler": given.get("sampler", (config.sampler,)),
        "ladder": given.get("ladder", (config.ladder,)),
        "configs": tuple(_configurations(share, config) for share in given.get("budget", (1.0,))),
        "slots": given["slots"],
        "final_round": given.get("final_round", (config.final_round,)),
        "warm_start": given["warm_start"],
        "until_converged": given.get("until_converged", (config.until_converged,)),
    }
    yardstick = {
        "sampler": "random",
        "ladder": config.ladder[-1:],
        "configs": ways["configs"][0],
        "slots": ways["slots"][0],
        "final_round": (0, 0),
    }
    combined = [dict(zip(ways, values, strict=True)) for values in itertools.product(*ways.values())]
    for values in combined:
        # A single length cannot tell whether a study has converged.
        values["until_converged"] &= len(values["ladder"]) > 1
    found = [check(Variant, values, "An option") for values in (yardstick, *combined)]
    for variant in found:
        configured(variant, config.arch[0], 0)
    return list(dict.fromkeys(found))


def configured(variant: Variant, arch: str, seed: int) -> RunConfig:
    """The configuration of a search in one way.

    Raises:
        ConfigError: a value breaks a rule.
    """
    values = variant.model_dump(exclude={"slots", "warm_start"})
    return check(RunConfig, {"out": Path(), "arch": (arch,), "seed": seed, **values}, "An option")


def _configurations(share: float, config: RunConfig) -> int:
    if not 0 < share * config.configs < math.inf:
        raise ConfigError("--budget takes numbers above 0", found=share)
    return max(1, round(share * config.configs))


def _study(surrogate: Surrogate, asked: Sequence[Variant], repeats: int, bar: Any) -> dict[str, Any]:
    outcomes = surrogate.outcomes
    known = sorted(outcomes.scores)
    for variant in asked:
        if not set(variant.ladder) <= set(known):
            raise ConfigError(
                "A replay knows the lengths that were trained",
                found=f"a ladder of {variant.ladder}; trained were {known}",
                remedy="Name a run that has them as well: tune-brain replay RUN OTHER.",
            )
    jobs, found = [(variant, seed) for variant in asked for seed in range(repeats)], []
    for done, result in enumerate(replay_each(surrogate, jobs), 1):
        found.append(result)
        bar(done, len(jobs))
    return {
        "arch": outcomes.space.arch,
        "full_length": outcomes.full_length,
        "configurations": len(outcomes.places),
        "seconds_an_epoch": outcomes.seconds,
        "rank_correlation": {str(length): _number(value) for length, value in rank_errors(outcomes).items()},
        "noise": _number(surrogate.noise),
        "best": surrogate.best,
        "variants": [
            {
                "name": variant.name,
                **variant.model_dump(mode="json"),
                "repeats": found[place * repeats : (place + 1) * repeats],
            }
            for place, variant in enumerate(asked)
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def replay_each(surrogate: Surrogate, jobs: Sequence[tuple[Variant, int]]) -> Iterator[dict[str, Any]]:
    """What `replay_once` returns for each variant and seed, in their order, from all cores."""
    # A forked worker would inherit the threads of numerical libraries.
    context = get_context("spawn")
    with ProcessPoolExecutor(mp_context=context, initializer=_take, initargs=(surrogate,)) as pool:
        yield from pool.map(_one, jobs, chunksize=4)


def replay_once(surrogate: Surrogate, variant: Variant, seed: int) -> dict[str, Any]:
    """One replay of one way to search, as plain values.

    Returns:
        `epochs` and `seconds` at which the choice of the winner changed, and the `true` score of each choice,
        all three closed by the end; `chosen`, the mean of the winner's own scores; `expected`, what is
        expected of it with other seeds, None where that is unknown; `realised` and `baseline`, the true
        scores of the winner and of the untuned baseline.
    """
    space = surrogate.outcomes.space
    config = configured(variant, space.arch, seed)
    rows: list[TrialRow] = []
    seconds, epochs, true = [], [], []
    chosen: Choice | None = None
    now = 0.0
    for ended in replay_search(surrogate, config, variant.slots, warm_start=variant.warm_start):
        rows.append(ended.row)
        now = ended.seconds
        before, chosen = chosen, choose(rows, config.epochs)
        if chosen and (before is None or chosen.row.configuration != before.row.configuration):
            seconds.append(round(now, 1))
            epochs.append(sum(row.epochs for row in rows))
            true.append(round(surrogate.true(chosen.row.values, seed), 4))
    found = chosen and expected(full_scores(rows, config.epochs), chosen.row.configuration)
    return {
        "seconds": [*seconds, round(now, 1)],
        "epochs": [*epochs, sum(row.epochs for row in rows)],
        "true": [*true, *true[-1:]],
        "chosen": fmean(chosen.scores) if chosen else None,
        "expected": found.mean if found else None,
        "realised": true[-1] if true else None,
        "baseline": round(surrogate.true(space.baseline, seed), 4),
    }


_surrogate: Surrogate
"""A worker's own."""


def _take(surrogate: Surrogate) -> None:
    global _surrogate
    _surrogate = surrogate


def _one(job: tuple[Variant, int]) -> dict[str, Any]:
    return replay_once(_surrogate, *job)
