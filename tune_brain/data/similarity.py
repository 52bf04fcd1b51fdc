"""Pairs of images that show the same picture: with another brightness, size or quality, or mirrored.

An upper bound of the correlation, from the components along 64 axes, selects the pairs whose thumbnails are
correlated. It never falls below the correlation, so no pair is missed, whatever the axes.
"""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from tune_brain.array_types import Bytes, Float32s, Ints
from tune_brain.data.cells import Cells, Pairs, joined

TWINS = 0.995
"""Smallest correlation of the 32x32 thumbnails of twins, both in audits and when a search splits the
images."""
AXES = 64
"""Axes of the bound. With fewer of them, more pairs pass it."""
STEPS = 8
"""Steps in which the axes turn towards those along which the thumbnails vary most."""
AT_ONCE = 8192
"""Largest number of images that a thread compares with the others at a time; larger blocks visit cells less
often."""
ROWS = 2048
"""Images that are compared with each other at a time, each with each."""
PAIRS = 4096
"""Pairs whose thumbnails are correlated at a time."""
TIE = 5e-6
"""Correlations that differ by less count as equal: rounding, which depends on the machine, must not choose
among the copies of an image."""


class Similarity:
    """An index of N thumbnails for finding similar pairs."""

    def __init__(self, thumbnails: Bytes) -> None:
        """Index thumbnails [N, h, w]."""
        self.thumbnails = thumbnails
        blocks = [thumbnails[start : start + ROWS] for start in range(0, len(thumbnails) + 1, ROWS)]
        with one_thread():
            self._axes = _main_axes(blocks)
            self._cells = Cells(np.concatenate([self._project(unit_vectors(block)) for block in blocks]))

    def same(self) -> Pairs:
        """Pairs whose thumbnails correlate, whatever their brightness, size and quality."""
        return self._pairs(self.thumbnails)

    def mirrored(self) -> Pairs:
        """Pairs of which one is the other mirrored left to right; no image is paired with itself."""
        return self._pairs(self.thumbnails[:, :, ::-1])

    def _pairs(self, queries: Bytes) -> Pairs:
        pairs = self._near(queries)
        once = pairs.second < pairs.first
        return Pairs(pairs.second[once], pairs.first[once], pairs.similarity[once])

    def _near(self, queries: Bytes) -> Pairs:
        """Pairs of query thumbnails [Q, h, w] with those of the N that are their twins."""

        def compare(block: slice) -> Pairs:
            vectors = unit_vectors(queries[block])
            twins = []
            for rows, places, _ in self._cells.near(self._project(vectors), TWINS):
                for start in range(0, len(rows), PAIRS):
                    i, j = rows[start : start + PAIRS], places[start : start + PAIRS]
                    similarity = np.einsum("ij,ij->i", vectors[i], unit_vectors(self.thumbnails[j]))
                    match = similarity >= TWINS
                    twins.append(Pairs(i[match] + block.start, j[match], similarity[match]))
            return joined(twins)

        return in_threads(compare, len(queries), AT_ONCE)

    def _project(self, vectors: Float32s) -> Float32s:
        """[N, 65], components along the axes and the norm of the rest; inner products bound correlations.

        By the Cauchy-Schwarz inequality, what the axes leave out of two vectors contributes at most the
        product of its norms to the correlation.
        """
        components = vectors @ self._axes
        rest = np.clip((vectors**2).sum(1) - (components**2).sum(1), 0, None)
        return np.column_stack([components, np.sqrt(rest)]).astype(np.float32)


def nearest(thumbnails: Bytes, queries: Bytes, exclude: Ints | None = None) -> tuple[Ints, Float32s]:
    """For each query, find the most similar thumbnail: the first one, up to differences of `TIE`.

    Args:
        thumbnails: [N, h, w].
        queries: [Q, h, w].
        exclude: [Q], index among the N that does not count for the query: usually itself.

    Returns:
        [Q] indices among the N and [Q] correlations; the correlation is -2 where there is no other image.
    """

    def compare(block: slice) -> Pairs:
        vectors = unit_vectors(queries[block])
        rows = np.arange(len(vectors))
        place, best = np.zeros(len(vectors), np.int64), np.full(len(vectors), -2, np.float32)
        for start in range(0, len(thumbnails), ROWS):
            products = vectors @ unit_vectors(thumbnails[start : start + ROWS]).T
            if exclude is not None:
                column = exclude[block] - start
                inside = np.flatnonzero((column >= 0) & (column < products.shape[1]))
                products[inside, column[inside]] = -2
            column = (products >= products.max(1, keepdims=True) - TIE).argmax(1)
            better = np.flatnonzero(products[rows, column] > best + TIE)
            place[better], best[better] = start + column[better], products[better, column[better]]
        # The rounding of products depends on the size of the block, which depends on the number of cores.
        other = np.flatnonzero(best > -2)
        best[other] = np.einsum("ij,ij->i", vectors[other], unit_vectors(thumbnails[place[other]]))
        return Pairs(rows + block.start, place, best)

    pairs = in_threads(compare, len(queries), ROWS)
    return pairs.second, pairs.similarity


def unit_vectors(thumbnails: Bytes | Float32s) -> Float32s:
    """Thumbnails [N, h, w] as rows [N, h * w] of mean 0 and length 1: inner products are correlations.

    A uniform thumbnail has no correlation with anything, not even itself: its row is zero.
    """
    rows = thumbnails.reshape(len(thumbnails), math.prod(thumbnails.shape[1:])).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # A single pixel that differs by one grey level gives at least 0.7; anything shorter is rounding.
    return (rows / np.where(lengths > 0.5, lengths, np.inf)).astype(np.float32)


def in_threads(compare: Callable[[slice], Pairs], n: int, at_once: int) -> Pairs:
    """Compare blocks of n images, each of at most `at_once`, in parallel threads; returns all their pairs."""
    # BLAS gets one thread per product: small products are slower with two, and nested threads wait for each
    # other.
    with one_thread(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return joined(pool.map(compare, _blocks(n, at_once)))


def one_thread() -> threadpool_limits:
    """A context in which BLAS uses one thread."""
    return threadpool_limits(1, "blas")


def _blocks(n: int, at_once: int) -> list[slice]:
    """Split n images into even blocks of at most `at_once`, the same number for each core."""
    cores = len(os.sched_getaffinity(0))
    parts = min(n, cores * -(-n // (cores * at_once)))
    ends = np.linspace(0, n, parts + 1).round().astype(int).tolist() if n else []
    return [slice(*both) for both in pairwise(ends)]


def _main_axes(blocks: Sequence[Bytes]) -> Float32s:
    """[h * w, 64], orthonormal axes close to those along which the thumbnails' vectors vary most.

    These are the leading eigenvectors of the second moments, found by subspace iteration.

    Args:
        blocks: thumbnails [n, h, w] of each block.
    """
    pixels = math.prod(blocks[0].shape[1:])
    moments = np.zeros((pixels, pixels), np.float32)
    for vectors in map(unit_vectors, blocks):
        moments += vectors.T @ vectors
    axes = np.random.default_rng(0).normal(size=(pixels, AXES)).astype(np.float32)
    for _ in range(STEPS):
        axes, _ = np.linalg.qr(moments @ axes)
    return axes
