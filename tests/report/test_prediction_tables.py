"""Curves and errors of predictions, by hand and compared with scikit-learn."""

import numpy as np
import pytest
from predicted import predictions
from sklearn.metrics import roc_auc_score, roc_curve

from tune_brain.errors import RunFolderError
from tune_brain.evaluate.predictions import read_predictions, write_predictions
from tune_brain.report.tables.predictions import POINTS, misclassified, reliability, roc


def one_seed_run(*rows: tuple[float, float]) -> np.ndarray:
    """Probabilities [1, N, 2]."""
    return np.array([rows])


def test_a_roc_curve_starts_and_ends_in_the_corners_and_joins_ties():
    probabilities = one_seed_run((0.9, 0.1), (0.6, 0.4), (0.6, 0.4), (0.2, 0.8))
    curve = roc(probabilities, np.array([0, 0, 1, 1]), 0)
    assert curve["false_positive"].tolist() == [0, 0, 0.5, 1]
    assert curve["true_positive"].tolist() == [0, 0.5, 1, 1]
    assert roc(one_seed_run((0.9, 0.1)), np.array([0]), 0).empty


def test_a_roc_curve_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet((1, 1, 1), size=(2, 90)).round(2)
    labels = rng.integers(0, 3, 90)
    curve = roc(probabilities, labels, 1)
    positive, scores = np.tile(labels == 1, 2), probabilities[:, :, 1].ravel()
    false_positive, true_positive, _ = roc_curve(positive, scores, drop_intermediate=False)
    assert curve["false_positive"].tolist() == pytest.approx(false_positive.tolist())
    assert curve["true_positive"].tolist() == pytest.approx(true_positive.tolist())


def test_a_long_roc_curve_is_thinned_and_keeps_its_area():
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet((1, 1, 1), size=(2, 900))
    labels = rng.integers(0, 3, 900)
    curve = roc(probabilities, labels, 1)
    assert len(curve) == POINTS
    area = np.trapezoid(curve["true_positive"], curve["false_positive"])
    exact = roc_auc_score(np.tile(labels == 1, 2), probabilities[:, :, 1].ravel())
    assert area == pytest.approx(exact, abs=0.01)


def test_reliability_counts_every_image_in_the_bin_of_its_confidence():
    table = reliability(
        one_seed_run((0.9, 0.1), (0.95, 0.05), (0.4, 0.6), (1.0, 0.0)), np.array([0, 1, 1, 0])
    )
    assert table["n"].tolist() == [1, 3]
    assert table["accuracy"].tolist() == pytest.approx([1, 2 / 3])
    assert table["confidence"].tolist() == pytest.approx([0.6, 0.95])


def test_the_worst_misclassified_images_come_first():
    probabilities = np.array([[[0.1, 0.9], [0.7, 0.3], [0.01, 0.99]], [[0.6, 0.4], [0.8, 0.2], [0.02, 0.98]]])
    test = predictions(np.array([0, 0, 0]), unseen=np.array([True, False, False]))
    table = misclassified(test, {"cnn": probabilities}, ["glioma", "none"])
    assert table["name"].tolist() == ["2.png", "0.png"]
    assert table["votes"].tolist() == [2, 1]
    assert table["predicted"].tolist() == ["none", "glioma"]
    assert table["unseen"].tolist() == [False, True]
    assert table["probability"].tolist() == pytest.approx([0.015, 0.35])


def test_predictions_survive_writing_and_reading(tmp_path):
    probabilities = {f"winner-cnn-{seed}": np.full((4, 2), seed / 4) for seed in (1, 0, 2)}
    written = predictions(
        np.zeros(4, int),
        unseen=np.arange(4) > 1,
        probabilities={**probabilities, "baseline-cnn-0": np.ones((4, 2))},
        weights={"winner-cnn-0": "a" * 64},
    )
    path = tmp_path / "predictions.npz"
    write_predictions(path, written)
    read = read_predictions(path)
    assert read.seed_runs("winner", "cnn")[:, 0, 0].tolist() == [0, 0.25, 0.5]
    assert len(read.seed_runs("winner", "linear")) == 0
    assert (read.part("official").sum(), read.part("unseen").sum(), read.main_part) == (4, 2, "unseen")
    assert (read.names.tolist(), read.weights) == (written.names.tolist(), written.weights)
    path.write_bytes(b"nothing")
    with pytest.raises(RunFolderError, match=r"predictions\.npz"):
        read_predictions(path)
