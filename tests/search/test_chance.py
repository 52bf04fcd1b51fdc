"""The score of a constant prediction, and the architectures that are no better."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tune_brain.config import RunConfig
from tune_brain.records import TrialRow
from tune_brain.search.chance import caution, constant_macro_f1, finding, no_better_than_constant
from tune_brain.train.metrics import confusion, macro_f1

COUNTS = {"a": 6, "b": 3, "c": 1, "none": 0}


def test_no_constant_prediction_scores_more_than_the_largest_class() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    scores = [macro_f1(confusion(torch.full((10,), label), labels, 4)) for label in range(4)]
    assert constant_macro_f1(COUNTS) == pytest.approx(max(scores)) == pytest.approx(0.25)


def test_an_architecture_is_untaught_if_no_full_length_score_exceeds_that_of_a_constant_prediction(
    row: Callable[..., TrialRow], tmp_path: Path
) -> None:
    config = RunConfig(out=tmp_path, arch=("linear", "cnn", "resnet18"), ladder=(1, 12))
    of = {"linear": (0.25, 0.1), "cnn": (0.1, 0.26)}
    rows = [
        row(number, 12, score, arch=arch)
        for arch, scores in of.items()
        for number, score in enumerate(scores)
    ]
    # A short trial does not show what was learnt, and resnet18 has no full-length score yet.
    rows += [row(3, 1, 0.9, arch="linear"), row(0, 12, None, arch="resnet18", why="diverged")]
    assert no_better_than_constant(rows, config, COUNTS) == ["linear"]
    assert no_better_than_constant([*rows, row(0, 12, 0.0, arch="resnet18")], config, {}) == []


def test_the_caution_names_the_architectures_and_their_limit() -> None:
    assert finding(["linear", "cnn", "resnet18"], COUNTS) == (
        "No full-length trial of linear, cnn or resnet18 is better than predicting one class for every image "
        "(macro-F1 0.250 on validation)."
    )
    assert "search lower or higher learning rates" in caution(["cnn"], COUNTS)
    assert "trial of cnn is" in caution(["cnn"], COUNTS)
