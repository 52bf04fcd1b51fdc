"""The ladder: from a study's rows to what it trains next. Pure: equal rows give equal steps.

A trial is a complete one-cycle, or the very beginning of a full-length one. The best third of a rung is
trained again at the next, from scratch and with another seed, as soon as a slot is free: the asynchronous
promotion of ASHA (Li et al., MLSys 2020) without stopping a running trial.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tune_brain.config import RunConfig
from tune_brain.records import BASELINE, TrialRow
from tune_brain.search.convergence import FEWEST, SEEDS, wanted
from tune_brain.search.study import ATTEMPTS, Study, is_tried_again

BEGINNING = 12
"""A trial of at most 1/12 of the full length is the beginning of the full-length cycle, not a cycle itself.

That early the learning rate is still low, and scores rank configurations better than those of a complete
cycle of the same length. Nearer to the peak of the rate they hardly rank them, while complete cycles do.
Measured for the first of 12 epochs, with the rate rising over .3 of them (results/LOG.md).
"""
PROMOTED_SHARE = 3
"""The best 1/3 of a rung is promoted."""
PROMOTED_IN_THE_END = 0.45
"""The share of a rung that is promoted in total: more than a third, as later configurations are better.

26 to 29 of 64 in the replays of `results/tables`.
"""


_ON_GPU = re.compile(r"CUDA|CUBLAS|CUDNN|find an engine")
"""What torch says when a GPU's memory, not the machine's, is exhausted."""


@dataclass(frozen=True)
class Retry:
    """Start a trial again: it failed, or it was lost with its worker or its driver."""

    row: TrialRow
    attempt: int


@dataclass(frozen=True)
class Train:
    """Train a configuration at a rung; one without trials must be sampled first."""

    configuration: int
    epochs: int
    repeat: int = 0


@dataclass(frozen=True)
class Wait:
    """Nothing can start before a running trial ends."""


@dataclass(frozen=True)
class Finished:
    """The study has nothing more to train."""


Step = Retry | Train | Wait | Finished


def next_step(study: Study, config: RunConfig, in_flight: Collection[int] = ()) -> Step:
    """What a study trains next.

    In this order: interrupted trials; the baseline at full length; promotions, from the highest rung down; a
    new configuration at the bottom. When all are sampled and a rung is complete, its best is promoted even
    if a third of the rung is less than one, so that every study ends with a full-length trial. Then comes the
    final round: the best full-length configurations are trained again with further seeds. While the last
    trials run, free slots start with those that will be finalists whatever the last trials score.

    Under `until_converged`, a study that has sampled enough also trains its baseline at the bottom with
    several seeds, to measure the noise between seeds, and stops sampling once it has converged.

    Args:
        study: the latest row of each of its trials.
        config: of the search.
        in_flight: the numbers of the trials that Ray has been given.
    """
    for _, row in sorted(study.unsettled.items()):
        if row.trial in in_flight:
            continue
        if row.state == "running":
            return Retry(row, row.attempt)
        if is_tried_again(row):
            return Retry(row, row.attempt + 1)
    step = _ladder_step(study, config.ladder, wanted(study.rows, config))
    if config.until_converged and isinstance(step, Train) and step.configuration > FEWEST:
        step = _noise_step(study.rows, step, config.ladder[0])
    # A running trial may still show that a study has not converged after all: no final round yet.
    if step == Finished() or (step == Wait() and not config.until_converged):
        step = _final_step(study, config.full_length, config.final_round)
    return step


def unfinished(rows: Sequence[TrialRow], config: RunConfig) -> list[str]:
    """The architectures whose study has something left to train.

    Args:
        rows: the latest row of each trial of a search.
        config: of the search.
    """
    studies = {arch: Study(row for row in rows if row.arch == arch) for arch in config.arch}
    return [arch for arch, study in studies.items() if not is_finished(study, config)]


def is_finished(study: Study, config: RunConfig) -> bool:
    """Whether a study has nothing left to train; trials that its rows call running are still to be done."""
    return next_step(study, config) == Finished()


def came_to_nothing(rows: Sequence[TrialRow], config: RunConfig) -> str | None:
    """Says that a search has ended without a completed full-length trial; None where that is not so."""
    completed = any(row.score is not None and row.epochs == config.full_length for row in rows)
    if not rows or completed or unfinished(rows, config):
        return None
    causes = Counter(row.why for row in rows if row.state == "failed")
    counts = ", ".join(f"{why} {n} times" for why, n in causes.items())
    return f"No full-length trial completed: {counts}. {remedy(rows)}"


def remedy(rows: Collection[TrialRow]) -> str:
    """What to do when every trial has failed."""
    if any(row.why == "diverged" for row in rows):
        return "Start a new run with lower learning rates in the space files."
    return "The rows of the trials in trials.jsonl say more."


def cycle(epochs: int, full_length: int) -> int | None:
    """Epochs of the one-cycle that a trial of `epochs` is the beginning of; None: it is a cycle itself."""
    return full_length if epochs * BEGINNING <= full_length else None


def _ladder_step(study: Study, ladder: Sequence[int], configs: int) -> Step:
    if not study.of(BASELINE):
        return Train(BASELINE, ladder[-1])

    for rung, above in reversed(list(itertools.pairwise(ladder))):
        ranked = study.ranking(rung)
        if (chosen := _first_left(study, ranked[: len(ranked) // PROMOTED_SHARE], above)) is not None:
            return Train(chosen, above)
    if (sampled := max(study.tried, default=BASELINE)) < configs:
        return Train(sampled + 1, ladder[0])
    open_trials = [row for row in list(study.unsettled.values()) if not row.repeat]
    for rung, above in itertools.pairwise(ladder):
        if any(row.epochs <= rung for row in open_trials):
            break
        arrived = any(
            row.state != "failed"
            for row in (*study.ranking(above), *open_trials)
            if row.epochs == above and row.configuration != BASELINE
        )
        ranked = study.ranking(rung)
        if (chosen := _first_left(study, ranked[:1] if arrived else ranked, above)) is not None:
            return Train(chosen, above)
    return Wait() if open_trials else Finished()


def _noise_step(rows: Sequence[TrialRow], step: Train, shortest: int) -> Train:
    """The baseline's next seed at the shortest length, ahead of a new configuration there."""
    trained = sum(row.configuration == BASELINE and row.epochs == shortest for row in rows)
    return Train(BASELINE, shortest, trained + 1) if step.epochs == shortest and trained < SEEDS else step


def _final_step(study: Study, full_length: int, final_round: tuple[int, int]) -> Step:
    (finalists, seeds), rows = final_round, study.rows
    first = [row for row in rows if row.epochs == full_length and not row.repeat and row.score is not None]
    started = {(row.configuration, row.repeat) for row in rows if row.epochs == full_length}
    # Each open trial of the ladder can add at most one configuration at full length: itself or the next
    # best. The others of the best so far are finalists whatever happens.
    climbing = sum(not row.repeat for row in list(study.unsettled.values()))
    certain = max(0, finalists - climbing)
    for row in sorted(first, key=lambda row: (-_score(row), row.configuration))[:certain]:
        for repeat in range(1, seeds + 1):
            if (row.configuration, repeat) not in started:
                return Train(row.configuration, full_length, repeat)
    return Wait() if study.unsettled else Finished()


def slots_needed(step: Step, largest: int, gpus: float) -> int:
    """How many slots of one machine a trial gets: two when it is retried for want of memory, else one.

    The last attempt after losing workers counts as such a retry: the kernel's out-of-memory killer leaves no
    message. A trial for which a whole GPU is too small gets one slot: it could make no use of a second GPU.

    Args:
        step: what is trained next.
        largest: how many slots the largest machine has.
        gpus: of a slot.
    """
    if not isinstance(step, Retry):
        return 1
    if step.row.why == "memory":
        more = gpus < 1 or not _ON_GPU.search(step.row.detail)
    else:
        more = step.attempt >= ATTEMPTS["lost"]
    return min(2, largest) if more else 1


def expected_epochs(ladder: Sequence[int], configs: int, final_round: tuple[int, int] = (0, 0)) -> int:
    """An estimate of the epochs that a study will train."""
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
