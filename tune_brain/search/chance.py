"""Whether a study has learnt anything: its best score against a classifier that always predicts one class.

A search in which nothing was learnt still has winners. Spending the sealed test on them is advised against.
"""

from collections.abc import Mapping, Sequence

from tune_brain.config import RunConfig
from tune_brain.records import TrialRow
from tune_brain.text import listed

ROUNDING = 1e-6
"""A score must exceed that of a constant prediction by more than this."""


def constant_macro_f1(counts: Mapping[str, int]) -> float:
    """Macro-F1 of predicting the largest class for every image; no other constant prediction scores more.

    With a share p of the images that class has F1 = 2p / (1 + p), and every other class 0.

    Args:
        counts: number of images by class; classes without images do not count.
    """
    images = [n for n in counts.values() if n]
    if not images:
        return 0.0
    share = max(images) / sum(images)
    return 2 * share / (1 + share) / len(images)


def no_better_than_constant(
    rows: Sequence[TrialRow], config: RunConfig, counts: Mapping[str, int]
) -> list[str]:
    """The architectures whose best full-length score is no better than that of a constant prediction.

    Args:
        rows: the latest row of each trial of a search.
        config: of the search.
        counts: number of validation images by class; if empty, nothing is known.
    """
    best: dict[str, float] = {}
    for row in rows:
        if row.epochs == config.full_length and row.score is not None:
            best[row.arch] = max(row.score, best.get(row.arch, 0.0))
    limit = constant_macro_f1(counts) + ROUNDING
    return [arch for arch in config.arch if counts and arch in best and best[arch] <= limit]


def finding(archs: Sequence[str], counts: Mapping[str, int]) -> str:
    """What these architectures lack, as a sentence.

    Args:
        archs: see `no_better_than_constant`.
        counts: number of validation images by class.
    """
    return (
        f"No full-length trial of {listed(archs, 'or')} is better than predicting one class for every image "
        f"(macro-F1 {constant_macro_f1(counts):.3f} on validation)."
    )


def caution(archs: Sequence[str], counts: Mapping[str, int]) -> str:
    """What to do before the winners of these architectures meet the sealed test, and why.

    Args:
        archs: see `no_better_than_constant`.
        counts: number of validation images by class.
    """
    change = "Before you evaluate, search lower or higher learning rates, or train longer."
    return f"{change} {finding(archs, counts)}"
