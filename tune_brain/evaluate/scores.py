"""Test scores from the stored predictions: official and unseen, with baselines, references and verdicts."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from tune_brain.array_types import Floats
from tune_brain.evaluate.between import difference, holm, sign_test
from tune_brain.evaluate.predictions import Predictions
from tune_brain.evaluate.statistics import score
from tune_brain.records import BASELINE, TEST_PARTS, SeedRow
from tune_brain.runs import Winner

REFERENCES = ("majority", "nearest_neighbour")
"""Classifiers without training that every winner is compared with."""

Scores = dict[str, Any]


def marked(scores: Scores, allowed_leak: int) -> Scores:
    """The scores, each marked with the number of training images that were allowed a twin in the test.

    Args:
        scores: nested; a score is a mapping with `n`.
        allowed_leak: that number, stored as `allowed_leak`; with 0 nothing is marked.
    """
    if not allowed_leak:
        return scores
    note = {"allowed_leak": allowed_leak} if "n" in scores else {}
    return note | {
        name: marked(value, allowed_leak) if isinstance(value, dict) and name != "per_class" else value
        for name, value in scores.items()
    }


def winner_scores(test: Predictions, archs: Sequence[str], classes: Sequence[str]) -> dict[str, Scores]:
    """The scores of each winner over its seed runs: {arch: {"official": ..., "unseen": ...}}."""
    return {arch: _score_parts(test, test.seed_runs("winner", arch), classes) for arch in archs}


def comparisons(
    test: Predictions, winners: Mapping[str, Winner], seed_rows: Sequence[SeedRow], classes: Sequence[str]
) -> Scores:
    """Scores of what winners are compared with, tests between winners, and a one-sentence verdict for each.

    Args:
        test: the predictions of all seed runs and of `REFERENCES`.
        winners: by architecture.
        seed_rows: validation results of the seed runs, winners and baselines.
        classes: names, in the order of the probabilities.
    """
    baselines = {arch: test.seed_runs("baseline", arch) for arch in winners}
    return {
        "classes": list(classes),
        "references": {
            name: _score_parts(test, test.probabilities[name][None], classes, probabilistic=False)
            for name in REFERENCES
        },
        "baselines": {
            arch: _score_parts(test, probabilities, classes)
            for arch, probabilities in baselines.items()
            if len(probabilities)
        },
        "validation": {
            arch: {
                "search": winner.mean_score,
                **{
                    role: [row.val_macro_f1 for row in seed_rows if (row.arch, row.role) == (arch, role)]
                    for role in ("winner", "baseline")
                },
            }
            for arch, winner in winners.items()
        },
        "mcnemar": _sign_tests(test, list(winners)),
        "verdicts": {arch: _verdict(test, arch, winner, baselines[arch]) for arch, winner in winners.items()},
    }


def _score_parts(
    test: Predictions, probabilities: Floats, classes: Sequence[str], *, probabilistic: bool = True
) -> dict[str, Scores]:
    """The scores of probabilities [S, N, C] on each part of the test."""
    scores = {}
    for part in TEST_PARTS:
        inside = test.part(part)
        scores[part] = score(
            probabilities[:, inside],
            test.labels[inside],
            test.groups[inside],
            classes,
            probabilistic=probabilistic,
        )
    return scores


def _sign_tests(test: Predictions, archs: Sequence[str]) -> list[Scores]:
    """Sign tests of each pair of winners, by their first seed runs, Holm-corrected within each part."""
    table: list[Scores] = []
    correct = {arch: test.seed_runs("winner", arch)[0].argmax(1) == test.labels for arch in archs}
    for part in TEST_PARTS:
        inside = test.part(part)
        groups = test.groups[inside]
        rows = [
            {"part": part, "a": a, "b": b, **sign_test(correct[a][inside], correct[b][inside], groups)}
            for a, b in combinations(archs, 2)
        ]
        corrected = holm([row["p"] for row in rows])
        table += [{**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)]
    return table


def _verdict(test: Predictions, arch: str, winner: Winner, baseline: Floats) -> str:
    """How the winner compares with its untuned baseline and with the nearest neighbour, on unseen images."""
    inside = test.part(test.main_part)
    labels, groups = test.labels[inside], test.groups[inside]
    ours = test.seed_runs("winner", arch)[:, inside]
    neighbour = test.probabilities["nearest_neighbour"][None, inside]
    images = f"on {len(labels)} {test.main_part} images"
    against_neighbour = phrase(difference(ours, neighbour, labels, groups), "the nearest neighbour")
    if winner.configuration == BASELINE:
        return f"{arch}: the untuned baseline won its own study; it {against_neighbour}, {images}."
    if not len(baseline):
        return f"{arch}: the winner {against_neighbour}, {images}; its untuned baseline diverged."
    against_baseline = phrase(difference(ours, baseline[:, inside], labels, groups), "its untuned baseline")
    return f"{arch}: the winner {against_baseline} and {against_neighbour}, {images}."


def phrase(gap: Mapping[str, float | None], other: str) -> str:
    """A difference of macro-F1 in words, as a predicate: "beat OTHER by ...".

    Args:
        gap: `mean`, `low` and `high` of the difference, as `difference` returns it.
        other: the name of the classifier that was subtracted.
    """
    mean, low, high = gap["mean"], gap["low"], gap["high"]
    if mean is None or low is None or high is None:
        return f"cannot be compared with {other} (too few groups of related images)"
    interval = f"95 % interval {low * 100:+.1f} to {high * 100:+.1f}"
    if low > 0:
        return f"beat {other} by {mean * 100:.1f} points of macro-F1 ({interval})"
    if high < 0:
        return f"fell behind {other} by {-mean * 100:.1f} points of macro-F1 ({interval})"
    return f"did not differ clearly from {other} ({mean * 100:+.1f} points of macro-F1, {interval})"
