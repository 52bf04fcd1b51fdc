"""What was said of each test image, as curves, by hand and beside scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tune_brain.errors import RunFolderError
from tune_brain.report.tables import spoken


def said(*rows: tuple[float, float]) -> np.ndarray:
    return np.array([rows])


def test_a_roc_curve_goes_from_corner_to_corner_by_way_of_ties():
    curve = spoken.roc(said((0.9, 0.1), (0.6, 0.4), (0.6, 0.4), (0.2, 0.8)), np.array([0, 0, 1, 1]), 0)
    assert curve["false_positive"].tolist() == [0, 0, 0.5, 1]
    assert curve["true_positive"].tolist() == [0, 0.5, 1, 1]
    assert spoken.roc(said((0.9, 0.1)), np.array([0]), 0).empty


def test_its_area_is_the_one_that_scikit_learn_knows():
    rng = np.random.default_rng(2)
    told = rng.dirichlet((1, 1, 1), size=(2, 90))
    labels = rng.integers(0, 3, 90)
    curve = spoken.roc(told, labels, 1)
    area = np.trapezoid(curve["true_positive"], curve["false_positive"])
    assert area == pytest.approx(roc_auc_score(np.tile(labels == 1, 2), told[:, :, 1].ravel()), abs=0.01)


def test_reliability_counts_every_image_in_the_bin_of_its_confidence():
    table = spoken.reliability(said((0.9, 0.1), (0.95, 0.05), (0.4, 0.6), (1.0, 0.0)), np.array([0, 1, 1, 0]))
    assert table["n"].tolist() == [1, 3]
    assert table["accuracy"].tolist() == pytest.approx([1, 2 / 3])
    assert table["confidence"].tolist() == pytest.approx([0.6, 0.95])


def test_the_most_wrongly_classified_come_first():
    told = np.array([[[0.1, 0.9], [0.7, 0.3], [0.01, 0.99]], [[0.6, 0.4], [0.8, 0.2], [0.02, 0.98]]])
    found = spoken.Spoken(
        labels=np.array([0, 0, 0]),
        unseen=np.array([True, False, False]),
        names=["a.jpg", "b.jpg", "c.jpg"],
        winners={"cnn": told},
    )
    table = spoken.wrong(found, ["glioma", "none"])
    assert table["name"].tolist() == ["c.jpg", "a.jpg"]
    assert table["votes"].tolist() == [2, 1]
    assert table["said"].tolist() == ["none", "glioma"]
    assert table["unseen"].tolist() == [False, True]
    assert table["probability"].tolist() == pytest.approx([0.015, 0.35])


def test_predictions_are_read_as_evaluate_writes_them(tmp_path):
    arrays = {f"probabilities/winner-cnn-{seed}": np.full((4, 2), 0.5) for seed in range(3)}
    arrays["probabilities/baseline-cnn-0"] = np.ones((4, 2))
    path = tmp_path / "predictions.npz"
    np.savez(path, labels=np.zeros(4, int), unseen=np.ones(4, bool), groups=np.arange(4), **arrays)
    found = spoken.read_spoken(path, ["linear", "cnn"])
    assert {arch: array.shape for arch, array in found.winners.items()} == {"cnn": (3, 4, 2)}
    path.write_bytes(b"nothing")
    with pytest.raises(RunFolderError, match=r"predictions\.npz"):
        spoken.read_spoken(path, ["cnn"])
