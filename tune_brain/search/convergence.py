"""Convergence: whether sampling further can still gain more than the noise between seeds. Pure.

The gain of further configurations is estimated at the shortest length, where all are compared. The noise is
the standard deviation between seeds there, for which the untuned baseline is trained again with further
seeds. Only rows decide, so an interrupted search comes to the same end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev

from tune_brain.config import RunConfig
from tune_brain.records import BASELINE, TrialRow
from tune_brain.search.study import is_tried_again
from tune_brain.text import counted

FEWEST = 20
"""No study ends before so many configurations: twice the sampler's random start."""
SEEDS = 5
"""How often the baseline is trained at the shortest length: enough to know the deviation to a third."""


@dataclass(frozen=True)
class Convergence:
    """The expected gain of a study and the noise between seeds: macro-F1 at its shortest length."""

    configurations: int
    """How many have ended at the shortest length."""
    epochs: int
    """The shortest length."""
    gain: float
    """By how much doubling the configurations is expected to raise the best."""
    noise: float
    """Standard deviation between seeds."""

    @property
    def reached(self) -> bool:
        """Whether the gain is within the noise."""
        return self.gain <= self.noise

    @property
    def reason(self) -> str:
        """Why the study ends or continues, as a sentence."""
        length = counted(self.epochs, "epoch", "epochs")
        word, than = ("converged", "no more") if self.reached else ("not converged", "more")
        return (
            f"{word}: {self.configurations} more configurations are expected to gain {self.gain:.4f} of "
            f"macro-F1 at {length}, {than} than the {self.noise:.4f} by which seeds differ"
        )


def convergence(rows: Sequence[TrialRow], shortest: int) -> Convergence | None:
    """The gain and the noise of a study; None while it has too few configurations or seeds.

    Doubling the configurations gains about as much as the later half has gained, since the best of many grows
    ever more slowly. That is estimated in two ways, and the larger counts: in the order of sampling (the best
    of all minus the best of the earlier half), which shows a sampler that still learns; and averaged over
    orders (the best of all minus the expected best of a random half), which no lucky early find hides.

    Args:
        rows: the latest row of each trial of the study.
        shortest: the bottom of the ladder, in epochs.
    """
    ended = [
        row for row in rows if row.epochs == shortest and row.state != "running" and not is_tried_again(row)
    ]
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
    """The mean, over all subsets of `count` scores, of the best of the subset.

    Dodge et al., "Show Your Work", EMNLP 2019, without replacement (Tang et al., ACL 2020): the i-th smallest
    of n is the best of k in C(i-1, k-1) of the C(n, k) choices.
    """
    mean, share = 0.0, count / len(scores)
    for place, score in reversed([*enumerate(sorted(scores))][count - 1 :]):
        mean += share * score
        # The next lower score's share, without binomials of thousands of digits.
        share *= (place - count + 1) / max(place, 1)
    return mean


def wanted(rows: Sequence[TrialRow], config: RunConfig) -> int:
    """How many configurations a study samples: all, or those sampled until it converged."""
    state = convergence(rows, config.ladder[0]) if config.until_converged else None
    return max(row.configuration for row in rows) if state and state.reached else config.configs
