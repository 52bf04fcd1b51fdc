"""Convergence: whether a study would still find more than the noise between seeds hides. Pure.

What a further configuration may bring is judged where all are compared, at the shortest length, against how
far seeds scatter there: the untuned baseline is trained again at that length, with further seeds, which is
the one way to know. Nothing but rows decides, so an interrupted search comes to the same end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev

from tune_brain.config import RunConfig
from tune_brain.records import BASELINE, TrialRow

FEWEST = 20
"""Configurations before which no study ends: twice those with which the sampler starts."""
SEEDS = 5
"""How often the baseline is trained at the shortest length; their deviation is known to a third."""


@dataclass(frozen=True)
class Convergence:
    """What a study may still gain, and the noise that would hide it: macro-F1 at its shortest length."""

    configurations: int
    """How many have ended at that length."""
    epochs: int
    """The shortest length."""
    gain: float
    """By how much as many configurations again would raise the best."""
    noise: float
    """Standard deviation between seeds."""

    @property
    def reached(self) -> bool:
        """Whether the gain is within the noise."""
        return self.gain <= self.noise

    @property
    def reason(self) -> str:
        """Why the study ended, or goes on, in words."""
        word, than = ("converged", "no more") if self.reached else ("not converged", "more")
        return (
            f"{word}: after {self.configurations} configurations as many again may raise the best macro-F1 "
            f"at {self.epochs} epochs by {self.gain:.4f}, {than} than the {self.noise:.4f} between seeds"
        )


def convergence(rows: Sequence[TrialRow], shortest: int) -> Convergence | None:
    """How a study stands; None while too few configurations or too few seeds are known.

    As much again brings about as much as the later half has brought, since a best of many grows ever more
    slowly. That is taken twice: as it came, the best of all less the best of the earlier half, in which a
    sampler that still learns shows; and on average over orders, the best of all less what the best of a
    random half is expected to be, which no lucky early find hides. The larger counts.

    Args:
        rows: the latest row of each trial of the study.
        shortest: the bottom of the ladder, in epochs.
    """
    ended = [row for row in rows if row.epochs == shortest and row.state != "running"]
    noise = [row.score for row in ended if row.configuration == BASELINE and row.score is not None]
    scores = {row.configuration: row.score or 0.0 for row in ended if row.configuration != BASELINE}
    measured = sum(row.configuration == BASELINE for row in ended)
    if len(scores) < FEWEST or measured < SEEDS or len(noise) < 2:
        return None
    in_order = [scores[number] for number in sorted(scores)]
    half = len(in_order) // 2
    without = min(max(in_order[:half]), expected_best(in_order, half))
    return Convergence(len(in_order), shortest, max(in_order) - without, stdev(noise))


def expected_best(scores: Sequence[float], count: int) -> float:
    """The mean over all choices of `count` of the scores of the best of them.

    Dodge et al., "Show Your Work", EMNLP 2019, without replacement (Tang et al., ACL 2020): the i-th smallest
    of n is the best of k in C(i-1, k-1) of the C(n, k) choices.
    """
    choices = math.comb(len(scores), count)
    return sum(
        score * (math.comb(place, count - 1) / choices)
        for place, score in enumerate(sorted(scores))
        if place >= count - 1
    )


def wanted(rows: Sequence[TrialRow], config: RunConfig) -> int:
    """How many configurations a study samples, as far as its rows tell: all, or those until it converged."""
    if not config.until_converged:
        return config.configs
    return configurations(rows, config.ladder[0], config.configs)


def configurations(rows: Sequence[TrialRow], shortest: int, configs: int) -> int:
    """As many as were sampled where the study has converged, else `configs`."""
    found = convergence(rows, shortest)
    return max(row.configuration for row in rows) if found and found.reached else configs
