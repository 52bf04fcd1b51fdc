"""The replay stage: simulate other samplers, ladders, slots and budgets on the trials of a search."""

import dataclasses
import itertools
import math
import os
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
from tune_brain.evaluate.shrinkage import shrunken_score
from tune_brain.evaluate.winners import Choice, choose, converged_scores
from tune_brain.files import write_json
from tune_brain.progress import Progress
from tune_brain.records import TrialRow
from tune_brain.search.outcomes import as_searched, read_outcomes, searched
from tune_brain.search.replay import replay as replay_search
from tune_brain.search.surrogate import Surrogate, rank_errors
from tune_brain.stages.warm import warmed


class Variant(Frozen):
    """One variant of the search: the settings that a replay varies."""

    sampler: Sampler
    ladder: tuple[int, ...]
    configs: int
    slots: int = Field(ge=1)
    final_round: tuple[int, int]
    until_converged: bool = False
    warm_start: bool = False

    @property
    def name(self) -> str:
        """The label of the variant in tables and plots."""
        finalists, seeds = self.final_round
        final = f", final {finalists}x{seeds}" if finalists * seeds else ""
        rungs = ",".join(map(str, self.ladder))
        until = ", until converged" if self.until_converged else ""
        warm = ", warm start" if self.warm_start else ""
        return f"{self.sampler} {rungs} of {self.configs}{final}{until}{warm}, {self.slots} slots"


def replay(
    folders: Sequence[Path], given: dict[str, tuple[Any, ...]], repeats: int, warm_start: Path | None = None
) -> Path:
    """Replay each study of a run in every requested variant; returns the path of replay.json in its folder.

    Args:
        folders: the run, and further runs of the same spaces and images whose trials the replay also uses.
        given: values to compare: `sampler`, `ladder`, `slots`, `budget` (factors of the run's number of
            configurations), `final_round` and `until_converged`; anything left out is as in the run.
        repeats: replays of each variant, each with its own seed.
        warm_start: an earlier run to start from; every variant is replayed without it and with it.

    Raises:
        ConfigError: a value breaks a rule, or no trial was trained for one of the lengths.
        RunFolderError: a run has no trials, the runs do not belong together, or the first cannot be written.
    """
    run, progress = runs.open_run(folders[0]), Progress()
    runs.check_writable(run.folder)
    slots = runs.read_record(run.folder).get("slots", 1)
    spaces = warmed(run.spaces, warm_start) if warm_start else run.spaces
    warm = (False, True) if warm_start else (any(space.first for space in run.spaces.values()),)
    compared = variants(run.config, {"slots": (slots,), "warm_start": warm, **given})
    studies, scored = [], searched(folders) & set(run.config.arch)
    for arch in run.config.arch:
        if scored and arch not in scored:
            progress.say(f"{arch} is left out: none of its trials completed")
            continue
        trained = read_outcomes(folders, arch)
        outcomes = as_searched(trained)
        if outcomes is trained:
            progress.say(
                f"{arch}: short trials are replayed as they were trained, as complete short cycles, "
                "because too few trials reached full length to tell how full cycles begin"
            )
        outcomes = dataclasses.replace(outcomes, space=spaces[arch])
        with progress.bar(f"replay of {arch}") as bar:
            studies.append(_study(Surrogate(outcomes), compared, repeats, bar))
    path = run.folder / "replay.json"
    write_json(path, {"runs": [str(folder) for folder in folders], "repeats": repeats, "studies": studies})
    return path


def variants(config: RunConfig, given: dict[str, tuple[Any, ...]]) -> list[Variant]:
    """The variants to replay: first the reference, random search at full length, then every combination.

    Args:
        config: the run's configuration.
        given: values to compare, as in `replay`; `slots` and `warm_start` are required.

    Raises:
        ConfigError: a value breaks a rule.
    """
    axes = {
        "sampler": given.get("sampler", (config.sampler,)),
        "ladder": given.get("ladder", (config.ladder,)),
        "configs": tuple(_configurations(share, config) for share in given.get("budget", (1.0,))),
        "slots": given["slots"],
        "final_round": given.get("final_round", (config.final_round,)),
        "warm_start": given["warm_start"],
        "until_converged": given.get("until_converged", (config.until_converged,)),
    }
    reference = {
        "sampler": "random",
        "ladder": config.ladder[-1:],
        "configs": axes["configs"][0],
        "slots": axes["slots"][0],
        "final_round": (0, 0),
    }
    combined = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    for values in combined:
        # With a single length, convergence cannot be judged.
        values["until_converged"] &= len(values["ladder"]) > 1
    checked = [check(Variant, values, "An option") for values in (reference, *combined)]
    for variant in checked:
        configured(variant, config.arch[0], 0)
    return list(dict.fromkeys(checked))


def configured(variant: Variant, arch: str, seed: int) -> RunConfig:
    """The run configuration of a variant.

    Raises:
        ConfigError: a value breaks a rule.
    """
    values = variant.model_dump(exclude={"slots", "warm_start"})
    return check(RunConfig, {"out": Path(), "arch": (arch,), "seed": seed, **values}, "An option")


def _configurations(share: float, config: RunConfig) -> int:
    if not 0 < share * config.configs < math.inf:
        raise ConfigError("--budget must be a number above 0", found=share)
    return max(1, round(share * config.configs))


def _study(surrogate: Surrogate, compared: Sequence[Variant], repeats: int, bar: Any) -> dict[str, Any]:
    outcomes = surrogate.outcomes
    trained = sorted(outcomes.scores)
    for variant in compared:
        if not set(variant.ladder) <= set(trained):
            raise ConfigError(
                "A replay can only use trial lengths that were trained",
                found=f"a ladder of {variant.ladder}; trained were {trained}",
                remedy="Add a run that has these lengths: tune-brain replay RUN OTHER.",
            )
    jobs, results = [(variant, seed) for variant in compared for seed in range(repeats)], []
    for done, result in enumerate(replay_each(surrogate, jobs), 1):
        results.append(result)
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
                "repeats": results[index * repeats : (index + 1) * repeats],
            }
            for index, variant in enumerate(compared)
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def replay_each(surrogate: Surrogate, jobs: Sequence[tuple[Variant, int]]) -> Iterator[dict[str, Any]]:
    """Call `replay_once` for each variant and seed on all cores; yields the results in order."""
    # Forked workers would inherit the locks of numerical libraries' threads.
    context = get_context("spawn")
    usable = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(usable, context, _set_surrogate, (surrogate,)) as pool:
        yield from pool.map(_replay_job, jobs, chunksize=4)


def replay_once(surrogate: Surrogate, variant: Variant, seed: int) -> dict[str, Any]:
    """Replay one variant once.

    Returns:
        Plain values. `epochs` and `seconds`: the totals trained and elapsed when the choice of the winner
        changed, and `true`: the true score of each choice; the last entry of all three is the end of the
        search. `chosen`: the mean of the winner's own scores. `expected`: its shrunken score, the expectation
        for other seeds, or None if unknown. `realised` and `baseline`: the true scores of the winner and of
        the untuned baseline.
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
        before, chosen = chosen, choose(rows, config.full_length)
        if chosen and (before is None or chosen.row.configuration != before.row.configuration):
            seconds.append(round(now, 1))
            epochs.append(sum(row.epochs for row in rows))
            true.append(round(surrogate.true(chosen.row.values, seed), 4))
    shrunken = chosen and shrunken_score(converged_scores(rows, config.full_length), chosen.row.configuration)
    return {
        "seconds": [*seconds, round(now, 1)],
        "epochs": [*epochs, sum(row.epochs for row in rows)],
        "true": [*true, *true[-1:]],
        "chosen": fmean(chosen.scores) if chosen else None,
        "expected": shrunken.mean if shrunken else None,
        "realised": true[-1] if true else None,
        "baseline": round(surrogate.true(space.baseline, seed), 4),
    }


_surrogate: Surrogate
"""The surrogate of a worker process, set once by `_set_surrogate` instead of being sent with every job."""


def _set_surrogate(surrogate: Surrogate) -> None:
    global _surrogate
    _surrogate = surrogate


def _replay_job(job: tuple[Variant, int]) -> dict[str, Any]:
    return replay_once(_surrogate, *job)
