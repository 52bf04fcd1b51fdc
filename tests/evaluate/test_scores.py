"""Scores over groups of images, and verdicts on a winner against its baseline and nearest neighbour."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classified import one_hot, wrong_every
from predicted import predictions
from sklearn.metrics import f1_score

from tune_brain.evaluate.predictions import Predictions
from tune_brain.evaluate.scores import comparisons, phrase, winner_scores
from tune_brain.records import BASELINE
from tune_brain.runs import read_winner

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
LABELS = np.arange(60) % 4
GROUPS = np.arange(60) // 10
UNSEEN = np.arange(60) < 40
RIGHT = one_hot(LABELS, 4)
THIRD, HALF = wrong_every(3, LABELS), wrong_every(2, LABELS)


def predicted(
    winner: np.ndarray, baseline: np.ndarray | None, neighbour: np.ndarray, **given: Any
) -> Predictions:
    """The predictions [60, 4] of one seed run each, and of the references."""
    probabilities = {
        "winner-cnn-0": winner,
        "nearest_neighbour": neighbour,
        "majority": one_hot(0 * LABELS, 4),
    }
    if baseline is not None:
        probabilities["baseline-cnn-0"] = baseline
    return predictions(
        LABELS, **{"groups": GROUPS, "unseen": UNSEEN, "probabilities": probabilities, **given}
    )


def verdict(test: Predictions, configuration: int = 3) -> str:
    """The verdict on the cnn, whose winner is the configuration of this number."""
    winner = read_winner(REFERENCE / "sartaj" / "winners" / "cnn.toml")
    winner = winner.model_copy(update={"configuration": configuration})
    sentence: str = comparisons(test, {"cnn": winner}, [], CLASSES)["verdicts"]["cnn"]
    return sentence


def points(predicted: np.ndarray) -> str:
    """By how many points of macro-F1 predictions fall short of a perfect score on the unseen images."""
    f1 = f1_score(LABELS[UNSEEN], predicted.argmax(1)[UNSEEN], average="macro")
    return f"by {100 * (1 - f1):.1f} points of macro-F1"


def test_intervals_are_over_groups_and_not_over_images() -> None:
    test = predicted(RIGHT, THIRD, HALF)
    winner = read_winner(REFERENCE / "sartaj" / "winners" / "cnn.toml")
    compared = comparisons(test, {"cnn": winner}, [], CLASSES)
    scored = [winner_scores(test, ["cnn"], CLASSES)["cnn"], compared["baselines"]["cnn"]]
    for scores in (*scored, *compared["references"].values()):
        assert [(scores[part]["n"], scores[part]["groups"]) for part in ("official", "unseen")] == [
            (60, 6),
            (40, 4),
        ]


def test_a_winner_that_is_always_right_beat_what_is_often_wrong_on_the_unseen_images() -> None:
    # On the images with a twin in training it is the other way round.
    winner, baseline, neighbour = RIGHT.copy(), THIRD.copy(), HALF.copy()
    winner[~UNSEEN], baseline[~UNSEEN], neighbour[~UNSEEN] = (
        RIGHT[~UNSEEN][::-1],
        RIGHT[~UNSEEN],
        RIGHT[~UNSEEN],
    )
    sentence = verdict(predicted(winner, baseline, neighbour))
    assert f"cnn: the winner beat its untuned baseline {points(THIRD)} " in sentence
    assert f" and beat the nearest neighbour {points(HALF)} " in sentence
    assert sentence.endswith(", on 40 unseen images.")


def test_a_winner_that_is_often_wrong_fell_behind_what_is_always_right() -> None:
    sentence = verdict(predicted(THIRD, RIGHT, RIGHT))
    assert f"cnn: the winner fell behind its untuned baseline {points(THIRD)} " in sentence
    assert f" and fell behind the nearest neighbour {points(THIRD)} " in sentence


def test_a_winner_is_compared_with_its_baseline_and_its_neighbour_each_on_its_own() -> None:
    sentence = verdict(predicted(THIRD, RIGHT, THIRD))
    assert "the winner fell behind its untuned baseline" in sentence
    assert " and did not differ clearly from the nearest neighbour" in sentence


def test_without_unseen_images_the_verdict_is_on_the_official_test() -> None:
    sentence = verdict(predicted(RIGHT, THIRD, THIRD, unseen=np.zeros(60, bool)))
    assert sentence.endswith(", on 60 official images.")


def test_a_verdict_resamples_groups_so_that_one_group_allows_none() -> None:
    sentence = verdict(predicted(RIGHT, THIRD, THIRD, groups=np.zeros(60, np.int64)))
    assert "cannot be compared with its untuned baseline (too few groups of related images)" in sentence
    assert "cannot be compared with the nearest neighbour (too few groups of related images)" in sentence


@pytest.mark.parametrize(
    ("configuration", "words"),
    [(BASELINE, "the untuned baseline won its own study; it beat"), (3, "its untuned baseline diverged")],
)
def test_a_baseline_that_diverged_has_not_won(configuration: int, words: str) -> None:
    sentence = verdict(predicted(RIGHT, None, THIRD), configuration)
    assert words in sentence
    assert "beat the nearest neighbour" in sentence


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        ((0.1, 0.05, 0.2), "beat it by 10.0 points of macro-F1 (95 % interval +5.0 to +20.0)"),
        ((-0.1, -0.2, -0.05), "fell behind it by 10.0 points of macro-F1 (95 % interval -20.0 to -5.0)"),
        (
            (0.1, -0.05, 0.2),
            "did not differ clearly from it (+10.0 points of macro-F1, 95 % interval -5.0 to +20.0)",
        ),
        (
            (-0.1, -0.2, 0.05),
            "did not differ clearly from it (-10.0 points of macro-F1, 95 % interval -20.0 to +5.0)",
        ),
        ((0.1, None, None), "cannot be compared with it (too few groups of related images)"),
        ((None, None, None), "cannot be compared with it (too few groups of related images)"),
    ],
)
def test_a_difference_in_words(gap: tuple[float | None, ...], words: str) -> None:
    named: Mapping[str, float | None] = dict(zip(("mean", "low", "high"), gap, strict=True))
    assert phrase(named, "it") == words


def test_winners_are_tested_pairwise_on_each_part_by_their_first_seed_runs() -> None:
    runs = {"winner-cnn-0": RIGHT, "winner-cnn-1": HALF, "winner-linear-0": THIRD}
    references = {"nearest_neighbour": HALF, "majority": HALF}
    test = predictions(LABELS, groups=GROUPS, unseen=UNSEEN, probabilities={**runs, **references})
    winner = read_winner(REFERENCE / "sartaj" / "winners" / "cnn.toml")
    table = comparisons(test, {"cnn": winner, "linear": winner}, [], CLASSES)["mcnemar"]
    assert [(row["part"], row["a"], row["b"], row["only_a"], row["only_b"]) for row in table] == [
        ("official", "cnn", "linear", 20, 0),
        ("unseen", "cnn", "linear", 14, 0),
    ]
    # In each of six and four groups the cnn leads.
    assert [row["p"] for row in table] == [2 / 2**6, 2 / 2**4]
