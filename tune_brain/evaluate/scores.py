"""What was said of the sealed test, as scores: official and unseen, beside baselines and floors, in words."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.evaluate.predictions import Predictions
from tune_brain.evaluate.statistics import difference, holm, mcnemar, score
from tune_brain.records import BASELINE, TEST_PARTS, SeedRow
from tune_brain.runs import Winner

REFERENCES = ("majority", "nearest_neighbour")

Scores = dict[str, Any]
Floats = NDArray[np.float64]


def marked(scores: Scores, allowed_leak: int) -> Scores:
    """The same, every score with how many images were let into training despite a twin in the test."""
    if not allowed_leak:
        return scores
    note = {"allowed_leak": allowed_leak} if "n" in scores else {}
    return note | {
        name: marked(value, allowed_leak) if isinstance(value, dict) and name != "per_class" else value
        for name, value in scores.items()
    }


def winner_scores(test: Predictions, archs: Sequence[str], classes: Sequence[str]) -> dict[str, Scores]:
    """The scores of each winner over its seed runs: {arch: {"official": ..., "unseen": ...}}."""
    return {arch: _both(test, test.seed_runs("winner", arch), classes) for arch in archs}


def comparisons(
    test: Predictions, winners: Mapping[str, Winner], seed_rows: Sequence[SeedRow], classes: Sequence[str]
) -> Scores:
    """What the winners are held against: floors, untuned baselines, each other; and a sentence for each."""
    baselines = {arch: test.seed_runs("baseline", arch) for arch in winners}
    return {
        "classes": list(classes),
        "references": {
            name: _both(test, test.probabilities[name][None], classes, probabilistic=False)
            for name in REFERENCES
        },
        "baselines": {
            arch: _both(test, spoken, classes) for arch, spoken in baselines.items() if len(spoken)
        },
        "validation": {
            arch: {
                "search": fmean((winner.score, *winner.again)),
                **{
                    role: [row.val_macro_f1 for row in seed_rows if (row.arch, row.role) == (arch, role)]
                    for role in ("winner", "baseline")
                },
            }
            for arch, winner in winners.items()
        },
        "mcnemar": _mcnemar(test, list(winners)),
        "verdicts": {arch: _verdict(test, arch, winner, baselines[arch]) for arch, winner in winners.items()},
    }


def _both(
    test: Predictions, spoken: Floats, classes: Sequence[str], *, probabilistic: bool = True
) -> dict[str, Scores]:
    scores = {}
    for part in TEST_PARTS:
        inside = test.part(part)
        scores[part] = score(
            spoken[:, inside],
            test.labels[inside],
            test.groups[inside],
            classes,
            probabilistic=probabilistic,
        )
    return scores


def _mcnemar(test: Predictions, archs: Sequence[str]) -> list[Scores]:
    """Each pair of winners by their first seed runs, Holm's correction within each part."""
    table: list[Scores] = []
    right = {arch: test.seed_runs("winner", arch)[0].argmax(1) == test.labels for arch in archs}
    for part in TEST_PARTS:
        inside = test.part(part)
        rows = [
            {"part": part, "a": a, "b": b, **mcnemar(right[a][inside], right[b][inside])}
            for a, b in combinations(archs, 2)
        ]
        corrected = holm([row["p"] for row in rows])
        table += [{**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)]
    return table


def _verdict(test: Predictions, arch: str, winner: Winner, baseline: Floats) -> str:
    """Did the search beat the baseline, did the network beat the neighbour: on the unseen images."""
    inside = test.part(test.telling)
    labels, groups = test.labels[inside], test.groups[inside]
    spoken = test.seed_runs("winner", arch)[:, inside]
    neighbour = test.probabilities["nearest_neighbour"][None, inside]
    place = f"on {len(labels)} {test.telling} images"
    against_neighbour = phrase(difference(spoken, neighbour, labels, groups), "the nearest neighbour")
    if winner.configuration == BASELINE:
        return f"{arch}: the untuned baseline won its own study; it {against_neighbour}, {place}."
    if not len(baseline):
        return f"{arch}: the winner {against_neighbour}, {place}; its untuned baseline diverged."
    gap = difference(spoken, baseline[:, inside], labels, groups)
    return f"{arch}: the winner {phrase(gap, 'its untuned baseline')} and {against_neighbour}, {place}."


def phrase(gap: Mapping[str, float | None], other: str) -> str:
    """What a difference of macro-F1 says of one that is held against another, in words: it beat it by ..."""
    mean, low, high = gap["mean"], gap["low"], gap["high"]
    if mean is None or low is None or high is None:
        return f"cannot be held against {other} (too few images)"
    interval = f"95 % interval {low * 100:+.1f} to {high * 100:+.1f}"
    if low > 0:
        return f"beat {other} by {mean * 100:.1f} points of macro-F1 ({interval})"
    if high < 0:
        return f"fell behind {other} by {-mean * 100:.1f} points of macro-F1 ({interval})"
    return f"did not differ clearly from {other} ({mean * 100:+.1f} points of macro-F1, {interval})"
