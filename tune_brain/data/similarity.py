"""Pairs of images that show the same picture: with another brightness, size or quality, or mirrored.

Two upper bounds prune candidate pairs before thumbnails are correlated: 64 principal components (which also
index the cells), then 209 low-frequency DCT coefficients. Both never fall below the correlation, so no pair
is missed.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tune_brain.data.cells import ROUNDING, Cells

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

TWINS = 0.995
"""Smallest correlation of the 32x32 thumbnails of twins, both in audits and when a search splits the
images."""
FREQUENCIES = 20
"""The finer bound uses the DCT coefficients whose vertical and horizontal frequencies add up to less than
this. With fewer coefficients more pairs pass it."""
COMPONENTS = 64
"""Principal components in the coarser bound."""
AT_ONCE = 8192
"""Largest number of images that a thread compares with the others at a time; larger blocks visit cells less
often."""
ROWS = 2048
"""Images whose bounds are computed against each other at a time."""
PAIRS = 4096
"""Pairs whose thumbnails are correlated at a time."""
TIE = 1e-5
"""Correlations that differ by less count as equal, so that copies need not be compared with each other."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """P pairs of images, each pair once."""

    first: Ints
    second: Ints
    """[P], indices of the images."""
    similarity: Floats
    """[P], correlation as defined by the kind of pair."""

    @classmethod
    def none(cls) -> "Pairs":
        """No pairs."""
        empty = np.zeros(0, np.int64)
        return cls(first=empty, second=empty, similarity=np.zeros(0, np.float32))


class Similarity:
    """An index of N thumbnails for finding similar pairs and nearest neighbours."""

    def __init__(self, thumbnails: Bytes) -> None:
        """Index thumbnails [N, h, w]."""
        self.thumbnails = thumbnails
        self._basis = _basis(thumbnails.shape[1])
        with one_thread():
            blocks = [
                self._transform(unit_vectors(thumbnails[block])) for block in _blocks(len(thumbnails), ROWS)
            ]
            self._dct = np.concatenate([np.zeros((0, self._basis.shape[1] + 1), np.float32), *blocks])
            self._axes = _principal_axes(self._dct[:, :-1])
            self._cells = Cells(self._project(self._dct))

    def same(self) -> Pairs:
        """Pairs whose thumbnails correlate, whatever their brightness, size and quality."""
        return self._pairs(self.thumbnails)

    def mirrored(self) -> Pairs:
        """Pairs of which one is the other mirrored left to right; no image is paired with itself."""
        return self._pairs(self.thumbnails[:, :, ::-1])

    def nearest(self, queries: Bytes, exclude: Ints | None = None) -> tuple[Ints, Floats]:
        """For each of Q thumbnails, find the most similar of the N, up to a difference of `TIE`.

        Args:
            queries: [Q, h, w].
            exclude: [Q], index among the N that does not count for the query: usually itself.

        Returns:
            [Q] indices among the N and [Q] correlations; the correlation is -2 where there is no other image.
        """

        def compare(block: slice) -> Pairs:
            vectors = unit_vectors(queries[block])
            dct, rows = self._transform(vectors), np.arange(len(vectors))
            nearest, best = np.zeros(len(vectors), np.int64), np.full(len(vectors), -2, np.float32)

            def correlate(i: Ints, j: Ints) -> None:
                similarity = np.einsum("ij,ij->i", vectors[i], unit_vectors(self.thumbnails[j]))
                order = np.argsort(similarity, kind="stable")
                order = order[similarity[order] > best[i[order]]]
                # Where an index occurs several times, NumPy keeps the last value assigned: the largest.
                nearest[i[order]], best[i[order]] = j[order], similarity[order]

            def bounds(start: int) -> Floats:
                products: Floats = dct @ self._dct[start : start + ROWS].T
                if exclude is not None:
                    inside = np.flatnonzero((exclude[block] >= start) & (exclude[block] < start + ROWS))
                    products[inside, exclude[block][inside] - start] = -2
                return products

            starts = range(0, len(self.thumbnails), ROWS)
            # Correlate the candidate with the highest bound first: few other bounds then exceed its
            # correlation.
            candidate, highest = np.zeros(len(rows), np.int64), np.full(len(rows), -2, np.float32)
            for start in starts:
                products = bounds(start)
                column = products.argmax(1)
                better = np.flatnonzero(products[rows, column] > highest)
                candidate[better], highest[better] = start + column[better], products[better, column[better]]
            with_candidate = np.flatnonzero(highest > -2)
            correlate(with_candidate, candidate[with_candidate])
            for start in starts:
                i, j = np.nonzero(bounds(start) > best[:, None] + TIE)
                for first in range(0, len(i), PAIRS):
                    correlate(i[first : first + PAIRS], start + j[first : first + PAIRS])
            return Pairs(first=rows + block.start, second=nearest, similarity=best)

        pairs = in_threads(compare, len(queries), ROWS)
        return pairs.second, pairs.similarity

    def _pairs(self, queries: Bytes) -> Pairs:
        pairs = self._near(queries)
        once = pairs.second < pairs.first
        return Pairs(first=pairs.second[once], second=pairs.first[once], similarity=pairs.similarity[once])

    def _near(self, queries: Bytes) -> Pairs:
        """Pairs of query thumbnails [Q, h, w] with those of the N that are their twins."""

        def compare(block: slice) -> Pairs:
            vectors = unit_vectors(queries[block])
            dct = self._transform(vectors)
            thresholds = np.full(len(vectors), TWINS, np.float32)
            twins = [Pairs.none()]
            for rows, places, _ in self._cells.near(self._project(dct), thresholds):
                for start in range(0, len(rows), PAIRS):
                    i, j = rows[start : start + PAIRS], places[start : start + PAIRS]
                    near = np.einsum("ij,ij->i", dct[i], self._dct[j]) >= TWINS - ROUNDING
                    i, j = i[near], j[near]
                    similarity = np.einsum("ij,ij->i", vectors[i], unit_vectors(self.thumbnails[j]))
                    match = similarity >= TWINS
                    i, j = i[match] + block.start, j[match]
                    twins.append(Pairs(first=i, second=j, similarity=similarity[match]))
            return joined(twins)

        return in_threads(compare, len(queries), AT_ONCE)

    def _transform(self, vectors: Floats) -> Floats:
        """[N, 210], low-frequency DCT coefficients and a residual norm; inner products bound correlations.

        By the Cauchy-Schwarz inequality, the parts of two vectors that these coefficients do not cover
        contribute at most the product of their norms to the correlation.
        """
        return _with_residual(vectors @ self._basis, (vectors**2).sum(1))

    def _project(self, dct: Floats) -> Floats:
        """[N, 65], principal components and a residual norm: a coarser bound of the same form."""
        return _with_residual(dct[:, :-1] @ self._axes, (dct**2).sum(1))


def unit_vectors(thumbnails: Bytes | Floats) -> Floats:
    """Thumbnails [N, h, w] as rows [N, h * w] of mean 0 and length 1: inner products are correlations.

    A uniform thumbnail has no correlation with anything, not even itself: its row is zero.
    """
    rows = thumbnails.reshape(len(thumbnails), math.prod(thumbnails.shape[1:])).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # A single pixel that differs by one grey level gives at least 0.7; anything shorter is rounding.
    return (rows / np.where(lengths > 0.5, lengths, np.inf)).astype(np.float32)


def low_frequencies(limit: int) -> tuple[Ints, Ints]:
    """Vertical and horizontal frequencies of the DCT coefficients with a sum in 1..`limit` - 1."""
    numbers = np.arange(limit)
    sums = numbers[:, None] + numbers
    vertical, horizontal = np.nonzero((sums > 0) & (sums < limit))
    return vertical, horizontal


def dct_basis(side: int, n: int) -> Floats:
    """[side, n], the first n vectors of the orthonormal DCT-II basis.

    Vector k is cos(pi / side * (x + 1/2) * k) over the positions x, scaled to length 1.
    """
    cosines = np.cos(np.pi / side * (np.arange(side) + 0.5)[:, None] * np.arange(n))
    return np.asarray(cosines / np.linalg.norm(cosines, axis=0), np.float32)


def in_threads(compare: Callable[[slice], Pairs], n: int, at_once: int) -> Pairs:
    """Compare blocks of n images, each of at most `at_once`, in parallel threads; returns all their pairs."""
    # BLAS gets one thread per product: small products are slower with two, and nested threads wait for each
    # other.
    with one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
        return joined([Pairs.none(), *pool.map(compare, _blocks(n, at_once))])


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Concatenate pairs."""
    return Pairs(
        first=np.concatenate([pairs.first for pairs in parts]),
        second=np.concatenate([pairs.second for pairs in parts]),
        similarity=np.concatenate([pairs.similarity for pairs in parts]),
    )


def one_thread() -> threadpool_limits:
    """A context in which BLAS uses one thread."""
    return threadpool_limits(1, "blas")


def _basis(side: int) -> Floats:
    """[side * side, 209], the low-frequency vectors of the two-dimensional DCT-II basis."""
    cosines = dct_basis(side, FREQUENCIES)
    vertical, horizontal = low_frequencies(FREQUENCIES)
    return (cosines[:, None, vertical] * cosines[None, :, horizontal]).reshape(side * side, -1)


def _blocks(n: int, at_once: int) -> list[slice]:
    """Split n images into even blocks of at most `at_once`, the same number for each core."""
    cores = os.cpu_count() or 1
    parts = min(n, cores * -(-n // (cores * at_once)))
    ends = np.linspace(0, n, parts + 1).round().astype(int).tolist() if n else []
    return [slice(*both) for both in pairwise(ends)]


def _with_residual(coefficients: Floats, squares: Floats) -> Floats:
    """Append the norm of what the coefficients [N, K] leave out of vectors whose squared lengths are [N]."""
    residual = np.clip(squares - (coefficients**2).sum(1), 0, None)
    return np.column_stack([coefficients, np.sqrt(residual)]).astype(np.float32)


def _principal_axes(vectors: Floats) -> Floats:
    """[K, 64], orthonormal axes along which the vectors [N, K] have the largest variance."""
    centred = vectors - vectors.mean(0) if len(vectors) else vectors
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.ascontiguousarray(axes[:, : -COMPONENTS - 1 : -1], np.float32)
