"""What is no scan is told apart by its looks."""

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
    known, asked = (
        features(decode(sorted((phantoms / part).rglob("*.*")), SIZE)[0].pixels)
        for part in ("Training", "Testing")
    )
    trained = fit(known)
    return distance(trained, known), distance(trained, asked)


def test_the_looks_are_those_of_the_training_images(scans: tuple[np.ndarray, np.ndarray]) -> None:
    known, asked = scans
    # The mean square of Mahalanobis's distance is the number of measures, but for the ridge.
    assert (known**2).mean() == pytest.approx(FEATURES, rel=0.2)
    assert np.median(asked) < np.quantile(known, 0.95)


@pytest.mark.parametrize("name", ["astronaut", "camera", "coffee", "text", "page", "moon", "brick"])
def test_photographs_and_text_are_foreign(
    name: str, phantoms: Path, scans: tuple[np.ndarray, np.ndarray]
) -> None:
    known = features(decode(sorted((phantoms / "Training").rglob("*.*")), SIZE)[0].pixels)
    assert distance(fit(known), features(pixels(getattr(pictures, name)())))[0] > scans[0].max()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_blank_picture_is_foreign_and_divides_nothing_by_zero(
    grey: int, phantoms: Path, scans: tuple[np.ndarray, np.ndarray]
) -> None:
    known = features(decode(sorted((phantoms / "Training").rglob("*.*")), SIZE)[0].pixels)
    found = distance(fit(known), features(np.full((1, 1, SIZE, SIZE), grey, np.uint8)))
    assert np.isfinite(found[0])
    assert found[0] > scans[0].max()


def test_images_measured_a_few_at_a_time_have_the_same_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 1, SIZE, SIZE), np.uint8)
    at_once = features(images)
    monkeypatch.setattr(ood, "AT_A_TIME", 2)
    assert np.array_equal(features(images), at_once)
    assert features(images[:0]).shape == (0, FEATURES)
