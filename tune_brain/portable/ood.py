"""Whether a picture looks like those that a model was trained on, by a few plain measures of its pixels.

Every bundle holds a copy of this file, so it imports nothing of tune_brain. The distance is Mahalanobis's
from the mean of the training images; no network is asked, since networks are sure of pictures of anything.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLAT = 2 / 255
"""A pixel whose Laplacian is below this is flat, as no pixel of a scan is outside its dark margin."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEATURES = 18
"""F, how many there are."""
AT_A_TIME = 256
"""Images: forty bytes a pixel are at work on them."""
TINY = 1e-3
RIDGE = 1e-3
"""Added to the variances, so that measures that move together can be inverted."""


class Reference(NamedTuple):
    """What training images look like: [F] and [F, F] of their measures."""

    mean: Floats
    precision: Floats


def features(pixels: NDArray[np.uint8]) -> Floats:
    """[N, F] of images uint8 [N, 1, S, S]: brightness, contrast, grain, symmetry, margin, centre."""
    parts = [_features(pixels[start : start + AT_A_TIME]) for start in range(0, len(pixels), AT_A_TIME)]
    return np.concatenate(parts) if parts else np.empty((0, FEATURES))


def _features(pixels: NDArray[np.uint8]) -> Floats:
    images = pixels[:, 0].astype(np.float64) / 255
    size = images.shape[1]
    across = np.abs(np.diff(images, axis=2)).mean((1, 2))
    down = np.abs(np.diff(images, axis=1)).mean((1, 2))
    inner = images[:, 1:-1, 1:-1]
    around = images[:, :-2, 1:-1] + images[:, 2:, 1:-1] + images[:, 1:-1, :-2] + images[:, 1:-1, 2:]
    laplacian = np.abs(4 * inner - around)
    centred = images - images.mean((1, 2), keepdims=True)
    contrast = np.sqrt((centred**2).mean((1, 2)))
    variance = contrast**2 + TINY**2
    edge = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    centre = images[:, size // 4 : -(size // 4), size // 4 : -(size // 4)]
    return np.column_stack(
        [
            images.mean((1, 2)),
            contrast,
            np.log(across + TINY),
            np.log(down + TINY),
            np.log(laplacian.mean((1, 2)) + TINY),
            np.log((across + TINY) / (contrast + TINY)),
            (laplacian < FLAT).mean((1, 2)),
            *np.quantile(images.reshape(len(images), -1), QUANTILES, axis=1),
            (centred * centred[:, :, ::-1]).mean((1, 2)) / variance,
            (centred * centred[:, ::-1]).mean((1, 2)) / variance,
            edge.mean(1),
            edge.std(1),
            centre.mean((1, 2)),
            np.log(centre.std((1, 2)) + TINY),
        ]
    )


def fit(known: Floats) -> Reference:
    """The looks of training images from their measures [N, F]."""
    covariance = np.cov(known.T)
    scale = np.sqrt(np.diagonal(covariance)) + TINY
    correlation = covariance / np.outer(scale, scale) + RIDGE * np.eye(len(scale))
    return Reference(known.mean(0), np.linalg.inv(correlation) / np.outer(scale, scale))


def distance(reference: Reference, asked: Floats) -> Floats:
    """[N], how far measures [N, F] are from those of the training images (Mahalanobis 1936)."""
    away = asked - reference.mean
    far: Floats = np.sqrt(np.maximum(np.einsum("nf,fg,ng->n", away, reference.precision, away), 0))
    return far
