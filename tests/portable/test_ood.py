"""Pictures that are no scans are recognised by their features."""

import tracemalloc
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data as pictures

from tune_brain.data.cache import decode
from tune_brain.portable import ood
from tune_brain.portable.ood import FEATURES, distance, features, fit
from tune_brain.portable.pictures import open_grey, square

SIZE = 48


def pixels(image: np.ndarray) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return square(open_grey(file.getvalue()), SIZE)[None, None]


@pytest.fixture(scope="module")
def scans(phantoms: Path) -> tuple[np.ndarray, np.ndarray]:
    training, test = (
        features(decode(sorted((phantoms / part).rglob("*.*")), SIZE)[0].pixels)
        for part in ("Training", "Testing")
    )
    reference = fit(training)
    return distance(reference, training), distance(reference, test)


def test_distances_of_training_images_are_as_expected_and_test_images_are_near(
    scans: tuple[np.ndarray, np.ndarray],
) -> None:
    training, test = scans
    # Without the ridge the mean squared Mahalanobis distance would equal the number of features.
    assert (training**2).mean() == pytest.approx(FEATURES, rel=0.2)
    assert np.median(test) < np.quantile(training, 0.95)


@pytest.mark.parametrize("name", ["astronaut", "camera", "coffee", "text", "page", "moon", "brick"])
def test_photographs_and_text_are_foreign(
    name: str, phantoms: Path, scans: tuple[np.ndarray, np.ndarray]
) -> None:
    training = features(decode(sorted((phantoms / "Training").rglob("*.*")), SIZE)[0].pixels)
    assert distance(fit(training), features(pixels(getattr(pictures, name)())))[0] > scans[0].max()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_blank_picture_is_foreign_at_a_finite_distance(
    grey: int, phantoms: Path, scans: tuple[np.ndarray, np.ndarray]
) -> None:
    training = features(decode(sorted((phantoms / "Training").rglob("*.*")), SIZE)[0].pixels)
    blank = distance(fit(training), features(np.full((1, 1, SIZE, SIZE), grey, np.uint8)))
    assert np.isfinite(blank[0])
    assert blank[0] > scans[0].max()


@pytest.mark.parametrize("pixels_at_once", [1, 2 * SIZE**2, 4 * SIZE**2])
def test_features_do_not_depend_on_the_batch_size(
    pixels_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, SIZE, SIZE), np.uint8)
    at_once = features(images)
    monkeypatch.setattr(ood, "PIXELS", pixels_at_once)
    assert np.array_equal(features(images), at_once)
    assert features(images[:0]).shape == (0, FEATURES)


def test_memory_depends_on_the_pixels_of_a_batch_whatever_the_number_of_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ood, "PIXELS", 4 * 128**2)
    images = np.zeros((64, 1, 128, 128), np.uint8)
    tracemalloc.start()
    features(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # In one batch they take 40 MB.
    assert peak < 60 * ood.PIXELS
