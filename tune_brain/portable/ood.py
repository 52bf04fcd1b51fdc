"""Out-of-distribution detection from a few simple statistics of an image's pixels.

A picture is judged by its Mahalanobis distance from the mean of the training images in this feature space. No
network is involved, because networks are confident about pictures of anything.

Every bundle contains a copy of this file, so it imports nothing from tune_brain.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLAT = 2 / 255
"""A pixel with a smaller Laplacian counts as flat; in a scan only the dark margin has such pixels."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FEATURES = 18
"""F, the number of features."""
PIXELS = 500_000
"""Pixels per batch: the computation takes about 40 bytes for each, so a batch takes 20 MB; larger ones are
slower."""
TINY = 1e-3
"""Keeps logarithms and divisions finite on blank images."""
RIDGE = 1e-3
"""Added to the diagonal of the correlation matrix, so that it is invertible with collinear features."""


class Reference(NamedTuple):
    """Feature distribution of the training images."""

    mean: Floats
    """[F]"""
    precision: Floats
    """[F, F], inverse of the covariance."""


def features(pixels: NDArray[np.uint8]) -> Floats:
    """Features [N, F] of images uint8 [N, 1, S, S]: brightness, contrast, grain, symmetry, margin, centre."""
    step = max(1, PIXELS * len(pixels) // max(1, pixels.size))
    batches = [_features(pixels[start : start + step]) for start in range(0, len(pixels), step)]
    return np.concatenate(batches) if batches else np.empty((0, FEATURES))


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


def fit(training: Floats) -> Reference:
    """Fit mean and regularised precision to the features [N, F] of the training images."""
    covariance = np.cov(training.T)
    scale = np.sqrt(np.diagonal(covariance)) + TINY
    correlation = covariance / np.outer(scale, scale) + RIDGE * np.eye(len(scale))
    return Reference(training.mean(0), np.linalg.inv(correlation) / np.outer(scale, scale))


def distance(reference: Reference, measured: Floats) -> Floats:
    """Mahalanobis distance [N] of features [N, F] from those of the training images (Mahalanobis, 1936)."""
    offset = measured - reference.mean
    squared = np.einsum("nf,fg,ng->n", offset, reference.precision, offset)
    distances: Floats = np.sqrt(np.maximum(squared, 0))
    return distances
