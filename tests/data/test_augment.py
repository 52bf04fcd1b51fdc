import math

import numpy as np
import pytest
import torch
from torch import Tensor

from tune_brain.data.augment import augment
from tune_brain.data.demo import draw
from tune_brain.data.samples import turned

SHAPES = [(20, 20), (21, 21), (20, 32), (33, 18)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (n, 1, height, width), generator=generator(9), dtype=torch.uint8)


def centroids(images: Tensor) -> tuple[Tensor, Tensor]:
    """The centre of brightness of each image, in pixels to the right of and below the image's centre."""
    _, _, height, width = images.shape
    x, y = torch.arange(width) - (width - 1) / 2, torch.arange(height) - (height - 1) / 2
    light = images[:, 0] / images[:, 0].sum(dim=(1, 2), keepdim=True)
    return (light.sum(dim=1) * x).sum(dim=1), (light.sum(dim=2) * y).sum(dim=1)


def spots(n: int, height: int, width: int, right: int, below: int) -> Tensor:
    images = torch.zeros(n, 1, height, width, dtype=torch.uint8)
    row, column = (height - 1) // 2 + below, (width - 1) // 2 + right
    images[:, :, row - 1 : row + 2, column - 1 : column + 2] = 200
    return images


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_without_rotation_and_flip_nothing_changes(height: int, width: int) -> None:
    pixels = noise(4, height, width)
    images = augment(pixels, rotation=0, flip=0, generator=generator())
    assert images.dtype == torch.float32
    torch.testing.assert_close(images, pixels.float() / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_flip_probability_one_mirrors_left_to_right(height: int, width: int) -> None:
    pixels = noise(4, height, width)
    images = augment(pixels, rotation=0, flip=1, generator=generator())
    torch.testing.assert_close(images, pixels.flip(-1).float() / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(41, 41), (41, 71), (71, 41)])
def test_rotation_keeps_the_distance_to_the_centre(height: int, width: int) -> None:
    x, y = centroids(augment(spots(300, height, width, 12, 5), rotation=180, flip=0, generator=generator()))
    torch.testing.assert_close(torch.hypot(x, y), torch.full((300,), 13.0), atol=0.3, rtol=0)
    turned = torch.atan2(y, x)
    assert torch.histc(turned, 6, -math.pi, math.pi).min() > 25


def test_rotation_angles_are_uniform_within_their_bound() -> None:
    x, y = centroids(augment(spots(300, 61, 61, 20, 0), rotation=10, flip=0, generator=generator()))
    degrees = torch.rad2deg(torch.atan2(y, x))
    assert degrees.max() == pytest.approx(10, abs=0.5)
    assert degrees.min() == pytest.approx(-10, abs=0.5)
    assert degrees.std() == pytest.approx(20 / math.sqrt(12), rel=0.15)


def test_images_flip_with_the_given_probability() -> None:
    x, _ = centroids(augment(spots(1000, 21, 21, 6, 0), rotation=0, flip=0.25, generator=generator()))
    assert (x < 0).float().mean() == pytest.approx(0.25, abs=0.05)


def test_uncovered_corners_are_black_and_values_lie_in_0_to_1() -> None:
    white = torch.full((50, 1, 32, 32), 255, dtype=torch.uint8)
    images = augment(white, rotation=45, flip=0.5, generator=generator())
    assert images.min() == 0
    assert images.max() == pytest.approx(1, abs=1e-5)
    assert (images[:, 0, 16, 16] > 0.999).all()
    assert images[:, 0, 0, 0].min() == 0


def test_only_the_generator_determines_the_result() -> None:
    pixels = noise(8, 20, 20)
    first, again, other = (
        augment(pixels, rotation=15, flip=0.5, generator=generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_audit_page_shows_the_augmentation_of_training() -> None:
    image = draw("glioma", np.random.default_rng(3)).resize((64, 64))
    pixels = np.asarray(image)[None]
    (angle,) = np.random.default_rng(5).uniform(-10, 10, 1)
    shown = turned(pixels, rotation=10, flip=0, seed=5)
    batch = torch.from_numpy(pixels.copy())[:, None]
    # Search for a seed with which training rotates by nearly the same angle.
    for seed in range(2000):
        drawn = (torch.rand(1, generator=generator(seed)).item() * 2 - 1) * 10
        if abs(drawn - angle) < 0.02:
            break
    trained = augment(batch, rotation=10, flip=0, generator=generator(seed)) * 255
    assert np.abs(shown[0] - trained[0, 0].numpy()).mean() < 1
    assert np.abs(pixels[0] - trained[0, 0].numpy()).mean() > 4
    mirrored = turned(pixels, rotation=0, flip=1, seed=0)
    assert (mirrored == pixels[:, :, ::-1]).all()
