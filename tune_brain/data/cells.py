"""An exact inverted-file index: unit vectors in k-means cells, searched by inner product.

The triangle inequality rules out cells that cannot hold a match, so that most vectors are never compared.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array

from tune_brain.array_types import Flags, Float32s, Ints

CELLS = 3.0
"""Number of cells per square root of the number of vectors. More cells hold fewer vectors to compare, but
each cell costs a comparison with its centre."""
STEPS = 2
"""Iterations of k-means."""
SAMPLE = 32
"""Vectors per cell on which k-means runs."""
ROWS, COLUMNS = 2048, 2048
"""Size of the largest block of products computed at a time."""
BATCH = 2**18
"""Pairs yielded at a time."""
ROUNDING = 1e-4
"""Tolerance for float32 rounding: no pair just above a threshold may be lost, nor one in cells whose centres
nearly coincide, since float32 loses the square of their distance."""


class Pairs(NamedTuple):
    """P pairs, of two images or of a query and a vector, each pair once."""

    first: Ints
    second: Ints
    """[P], indices."""
    similarity: Float32s
    """[P], correlation as defined by the kind of pair, or inner product."""


class Cells:
    """N vectors, each in the cell of its nearest centre."""

    def __init__(self, vectors: Float32s) -> None:
        """Index vectors [N, D] of length 1 or 0."""
        self._centres = _centres(vectors)
        cell = _nearest(vectors, self._centres)
        self._places = np.argsort(cell, kind="stable")
        self._vectors = vectors[self._places]
        self._ends = np.searchsorted(cell[self._places], np.arange(len(self._centres) + 1))
        self._distances = np.sqrt(np.clip(_squares(self._centres, self._centres), 0, None) + ROUNDING)

    def near(self, queries: Float32s, threshold: float, radius_share: float = 1.0) -> Iterator[Pairs]:
        """Find all pairs of a query and a vector whose inner product reaches a threshold.

        Unit vectors with the inner product p are sqrt(2 - 2p) apart. A match in another cell therefore lies
        at most that far from the query, and no farther beyond the plane that separates the two cells.

        Args:
            queries: [Q, D] vectors of length 1 or 0.
            threshold: the smallest inner product of a match.
            radius_share: share of that distance within which other cells are searched; below 1 the search is
                faster but may miss pairs.

        Yields:
            Batches of the pairs, the query first. Pairs up to `ROUNDING` below the threshold are included.
        """
        least = np.float32(threshold) - np.float32(ROUNDING)
        radius = float(radius_share * np.sqrt(2 - 2 * least))
        batch: list[Pairs] = []
        pairs = 0
        for row in range(0, len(queries) if len(self._vectors) else 0, ROWS):
            reached = self._reached(queries[row : row + ROWS], radius)
            for cell in np.flatnonzero(reached.any(0)):
                rows = np.flatnonzero(reached[:, cell]) + row
                for start in range(self._ends[cell], self._ends[cell + 1], COLUMNS):
                    end = min(start + COLUMNS, self._ends[cell + 1])
                    products = queries[rows] @ self._vectors[start:end].T
                    i, j = np.nonzero(products >= least)
                    batch.append(Pairs(rows[i], self._places[start + j], products[i, j]))
                    pairs += len(i)
                    if pairs >= BATCH:
                        yield joined(batch)
                        batch, pairs = [], 0
        if batch:
            yield joined(batch)

    def _reached(self, queries: Float32s, radius: float) -> Flags:
        """[Q, cells], true where the cell may hold a vector within the radius of the query."""
        squares = _squares(queries, self._centres)
        own = squares.argmin(1)
        excess = squares - squares[np.arange(len(queries)), own, None]
        flags: Flags = excess <= 2 * radius * self._distances[own] + ROUNDING
        return flags


def joined(parts: Iterable[Pairs]) -> Pairs:
    """Concatenate pairs; without any, the arrays are empty."""
    none = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    return Pairs(*map(np.concatenate, zip(none, *parts, strict=True)))


def _centres(vectors: Float32s) -> Float32s:
    """[K, D], the centres that k-means finds on a sample of the vectors."""
    k = round(CELLS * len(vectors) ** 0.5)
    centres = vectors[:: max(1, len(vectors) // max(k, 1))]
    sample = vectors[:: max(1, len(vectors) // max(SAMPLE * k, 1))]
    for _ in range(STEPS):
        cell = _nearest(sample, centres)
        ones = np.ones(len(sample), np.float32)
        members = coo_array((ones, (cell, np.arange(len(sample)))), shape=(len(centres), len(sample)))
        n = np.bincount(cell, minlength=len(centres))[:, None]
        centres = np.where(n > 0, members @ sample / np.maximum(n, 1), centres).astype(np.float32)
    return centres


def _nearest(vectors: Float32s, centres: Float32s) -> Ints:
    """[N], index of the nearest centre of each vector."""
    blocks = [vectors[start : start + ROWS] for start in range(0, len(vectors), ROWS)]
    nearest = [_squares(block, centres).argmin(1) for block in blocks]
    return np.concatenate([np.zeros(0, np.int64), *nearest])


def _squares(vectors: Float32s, centres: Float32s) -> Float32s:
    """[N, K], squared distances."""
    lengths = (vectors**2).sum(1)[:, None] + (centres**2).sum(1)
    squares: Float32s = lengths - 2 * vectors @ centres.T
    return squares
