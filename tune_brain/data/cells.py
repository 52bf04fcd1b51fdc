"""Vectors of length 1 put into cells, so that those close to another are found without a look at all."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Found = tuple[Ints, Ints, Floats]

CELLS = 3.0
"""Cells for the square root of the number of vectors: more leave fewer vectors to look at, but more cells."""
STEPS = 2
"""Times that each centre moves to the mean of the vectors of its cell."""
SAMPLE = 32
"""Vectors for each centre that it is found by."""
ROWS, COLUMNS = 2048, 2048
"""Vectors that are held against each other at a time."""
HELD = 2**18
"""Pairs that are handed over at a time."""
ROUNDING = 1e-4
"""Rounding must lose no pair that is just above, nor one of cells whose centres are nearly the same: in
float32 the square of their distance is lost."""


class Cells:
    """N vectors, each in the cell of its nearest centre."""

    def __init__(self, vectors: Floats) -> None:
        """Take vectors [N, D] of length 1, or 0."""
        self._centres = _centres(vectors)
        cell = _nearest(vectors, self._centres)
        self._places = np.argsort(cell, kind="stable")
        self._vectors = vectors[self._places]
        self._ends = np.searchsorted(cell[self._places], np.arange(len(self._centres) + 1))
        self._apart = np.sqrt(np.clip(_squares(self._centres, self._centres), 0, None) + ROUNDING)

    def near(self, asked: Floats, least: Floats, part: float = 1.0) -> Iterator[Found]:
        """Pairs of an asked vector and one of the N whose product reaches what the asked one wants.

        Vectors of length 1 whose product is p are sqrt(2 - 2p) apart: by no more can one of them be on
        the far side of the plane that parts its cell from the other's.

        Args:
            asked: [A, D] vectors of length 1, or 0.
            least: [A] products.
            part: how much of that way is looked at; with less than 1 pairs can be missed.

        Yields:
            Some of all P pairs: [P] rows of `asked`, [P] places among the N, [P] products.
        """
        least = least - np.float32(ROUNDING)
        held: list[Found] = []
        pairs = 0
        for row in range(0, len(asked) if len(self._vectors) else 0, ROWS):
            block = slice(row, row + ROWS)
            reach = np.asarray(part * np.sqrt(2 - 2 * least[block]), np.float32)
            reached = self._reached(asked[block], reach)
            for cell in np.flatnonzero(reached.any(0)):
                rows = np.flatnonzero(reached[:, cell]) + row
                for start in range(self._ends[cell], self._ends[cell + 1], COLUMNS):
                    end = min(start + COLUMNS, self._ends[cell + 1])
                    products = asked[rows] @ self._vectors[start:end].T
                    of, to = np.nonzero(products >= least[rows, None])
                    held.append((rows[of], self._places[start + to], products[of, to]))
                    pairs += len(of)
                    if pairs >= HELD:
                        yield joined(held)
                        held, pairs = [], 0
        if held:
            yield joined(held)

    def _reached(self, asked: Floats, reach: Floats) -> Flags:
        """[A, cells], where a vector so far away can be."""
        squares = _squares(asked, self._centres)
        own = squares.argmin(1)
        behind = squares - squares[np.arange(len(asked)), own, None]
        flags: Flags = behind <= 2 * reach[:, None] * self._apart[own] + ROUNDING
        return flags


def joined(held: Sequence[Found]) -> Found:
    """All pairs, in their order."""
    rows, places, products = (np.concatenate(parts) for parts in zip(*held, strict=True))
    return rows, places, products


def _centres(vectors: Floats) -> Floats:
    """[K, D], means of vectors that are close to each other."""
    k = round(CELLS * len(vectors) ** 0.5)
    centres = vectors[:: max(1, len(vectors) // max(k, 1))]
    sample = vectors[:: max(1, len(vectors) // max(SAMPLE * k, 1))]
    for _ in range(STEPS):
        cell = _nearest(sample, centres)
        one = np.ones(len(sample), np.float32)
        members = coo_array((one, (cell, np.arange(len(sample)))), shape=(len(centres), len(sample)))
        n = np.bincount(cell, minlength=len(centres))[:, None]
        centres = np.where(n > 0, members @ sample / np.maximum(n, 1), centres).astype(np.float32)
    return centres


def _nearest(vectors: Floats, centres: Floats) -> Ints:
    """[N], the nearest centre of each vector."""
    blocks = [vectors[start : start + ROWS] for start in range(0, len(vectors), ROWS)]
    near = [_squares(block, centres).argmin(1) for block in blocks]
    return np.concatenate([np.zeros(0, np.int64), *near])


def _squares(vectors: Floats, centres: Floats) -> Floats:
    """[N, K], squared distances."""
    lengths = (vectors**2).sum(1)[:, None] + (centres**2).sum(1)
    squares: Floats = lengths - 2 * vectors @ centres.T
    return squares
