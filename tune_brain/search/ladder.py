"""The ladder: from a study's rows to what it trains next.

A trial is a complete one-cycle, or the very beginning of a full-length one; the best third of a rung is
trained anew at the next, with another seed, as soon as a slot is free (ASHA's asynchronous promotion, Li et
al., MLSys 2020, without its cuts through a running trial). Pure: equal rows give equal steps.
"""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tune_brain.config import RunConfig
from tune_brain.records import BASELINE, TrialRow
from tune_brain.search.convergence import FEWEST, SEEDS, configurations
from tune_brain.search.study import ATTEMPTS, Study, is_tried_again

BEGINNING = 12
"""A trial of at most one in so many epochs of the full length is the beginning of the full cycle.

There the learning rate is still small, and the score ranks configurations better than that of a complete
cycle as short; nearer to its peak it hardly ranks them, and complete cycles do. Measured for the first of 12
epochs where the rate rises in .3 of them (results/LOG.md).
"""
PROMOTED_SHARE = 3
"""One in so many of a rung is promoted."""
PROMOTED_IN_THE_END = 0.45
"""The share of a rung that is promoted: a third of those so far at each moment, and later ones are better.

26 to 29 of 64 in the replays of `results/tables`.
"""


@dataclass(frozen=True)
class Retry:
    """Start a trial once more: it raised, or it was lost with its worker or its driver."""

    row: TrialRow
    attempt: int


@dataclass(frozen=True)
class Train:
    """Train a configuration at a rung; one that has no trial yet must be sampled first."""

    configuration: int
    epochs: int
    repeat: int = 0


@dataclass(frozen=True)
class Wait:
    """Nothing can start until a running trial ends."""


@dataclass(frozen=True)
class Finished:
    """The study has trained all that it will."""


Step = Retry | Train | Wait | Finished


def next_step(
    study: Study,
    ladder: Sequence[int],
    configs: int,
    live: Collection[int],
    final_round: tuple[int, int] = (0, 0),
    until_converged: bool = False,
) -> Step:
    """What a study trains next.

    Interrupted trials come first, then the baseline at full length, then promotions from the highest rung
    down, then a new configuration at the bottom. When all are sampled and a rung can grow no more, its best
    is promoted even where a third of it is less than one, so that every study ends with a full-length trial.
    Then the best full-length trials are trained again with further seeds, the final round. While the last
    trials run, slots that would wait begin with those that will be among the best whatever these score.

    A study that is to end when it has converged measures the noise between seeds when it has sampled enough
    for that question, by training its baseline at the bottom, and samples no more once it has.

    Args:
        study: the latest row of each of its trials.
        ladder: the rungs, in epochs, rising.
        configs: how many configurations to sample beside the baseline.
        live: the numbers of the trials that a worker is training now.
        final_round: how many of the best full-length trials are trained again, and how often each.
        until_converged: whether the study ends when it has converged (`search.convergence`).
    """
    for _, row in sorted(study.unsettled.items()):
        if row.state == "running" and row.trial not in live:
            return Retry(row, row.attempt)
        if is_tried_again(row):
            return Retry(row, row.attempt + 1)
    if until_converged:
        configs = configurations(study.rows, ladder[0], configs)
    step = _ladder_step(study, ladder, configs)
    if until_converged and isinstance(step, Train) and step.configuration > FEWEST:
        step = _noise_step(study.rows, step, ladder[0])
    # A study that has converged may be found not to have, and sample again.
    if step == Finished() or (step == Wait() and not until_converged):
        step = _final_step(study.rows, ladder[-1], final_round)
    return step


def unfinished(rows: Sequence[TrialRow], config: RunConfig) -> list[str]:
    """The architectures whose study has something left to train.

    Args:
        rows: the latest row of each trial of a search.
        config: what was asked of it.
    """
    asked = (config.ladder, config.configs, (), config.final_round, config.until_converged)
    studies = {arch: Study(row for row in rows if row.arch == arch) for arch in config.arch}
    return [arch for arch, study in studies.items() if next_step(study, *asked) != Finished()]


def came_to_nothing(rows: Sequence[TrialRow], config: RunConfig) -> str | None:
    """In words, that a search has ended without a full-length trial that did well; None where it has not."""
    well = any(row.score is not None and row.epochs == config.epochs for row in rows)
    if not rows or well or unfinished(rows, config):
        return None
    ends = Counter(row.why for row in rows if row.state == "failed")
    told = ", ".join(f"{why} {n} times" for why, n in ends.items())
    return f"No full-length trial ended well: {told}. {what_then(rows)}"


def what_then(rows: Collection[TrialRow]) -> str:
    """What to do where all that was to be trained has failed."""
    if any(row.why == "diverged" for row in rows):
        return "Lower the learning rates of the space files for a new run."
    return "Each trial's row says more."


def cycle(study: Study, epochs: int, full_length: int) -> int | None:
    """Epochs of the one-cycle that a trial of so many is the beginning of; None: it is all of one.

    A rung goes on as it began, be it under an older version: its scores are compared.
    """
    return study.cycles.get(epochs, full_length if epochs * BEGINNING <= full_length else None)


def _ladder_step(study: Study, ladder: Sequence[int], configs: int) -> Step:
    if not study.of(BASELINE):
        return Train(BASELINE, ladder[-1])

    for rung, above in reversed(list(itertools.pairwise(ladder))):
        ranked = study.ranking(rung)
        if (chosen := _first_left(study, ranked[: len(ranked) // PROMOTED_SHARE], above)) is not None:
            return Train(chosen, above)
    if (sampled := max(study.tried, default=BASELINE)) < configs:
        return Train(sampled + 1, ladder[0])
    running = [row for row in study.running if not row.repeat]
    for rung, above in itertools.pairwise(ladder):
        if any(row.epochs <= rung for row in running):
            break
        arrived = any(
            row.state != "failed"
            for row in (*study.ranking(above), *running)
            if row.epochs == above and row.configuration != BASELINE
        )
        ranked = study.ranking(rung)
        if (chosen := _first_left(study, ranked[:1] if arrived else ranked, above)) is not None:
            return Train(chosen, above)
    return Wait() if running else Finished()


def _noise_step(rows: Sequence[TrialRow], step: Train, shortest: int) -> Train:
    """The baseline's next seed at the shortest length before a configuration that is new there."""
    trained = sum(row.configuration == BASELINE and row.epochs == shortest for row in rows)
    return Train(BASELINE, shortest, trained + 1) if step.epochs == shortest and trained < SEEDS else step


def _final_step(rows: Sequence[TrialRow], full_length: int, final_round: tuple[int, int]) -> Step:
    finalists, seeds = final_round
    first = [row for row in rows if row.epochs == full_length and not row.repeat and row.score is not None]
    started = {(row.configuration, row.repeat) for row in rows if row.epochs == full_length}
    # With the end of a trial of the ladder one more at most can come to full length: itself or the next best.
    climbing = sum(row.state == "running" and not row.repeat for row in rows)
    certain = max(0, finalists - climbing)
    for row in sorted(first, key=lambda row: (-_score(row), row.configuration))[:certain]:
        for repeat in range(1, seeds + 1):
            if (row.configuration, repeat) not in started:
                return Train(row.configuration, full_length, repeat)
    return Wait() if any(row.state == "running" for row in rows) else Finished()


def room(step: Step, largest: int) -> int:
    """How many slots of one machine a trial gets: two of what ran out of memory, if any machine has them.

    So does the last attempt with what was lost: the kernel, where memory ends, kills without a word.

    Args:
        step: what is trained next.
        largest: how many slots the largest machine has.
    """
    if not isinstance(step, Retry) or (step.row.why != "memory" and step.attempt < ATTEMPTS["lost"]):
        return 1
    return min(2, largest)


def expected_epochs(ladder: Sequence[int], configs: int, final_round: tuple[int, int] = (0, 0)) -> int:
    """About how many epochs a study will train; each rung promotes at least its best."""
    total, size = ladder[-1] * (1 + final_round[0] * final_round[1]), configs
    for rung in ladder:
        total += size * rung
        size = max(1, round(size * PROMOTED_IN_THE_END))
    return total


def _score(row: TrialRow) -> float:
    return -math.inf if row.score is None else row.score


def _first_left(study: Study, ranked: Sequence[TrialRow], above: int) -> int | None:
    left = (row.configuration for row in ranked if row.score is not None)
    return next((number for number in left if number not in study.started[above]), None)
