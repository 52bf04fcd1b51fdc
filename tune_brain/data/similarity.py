"""Pairs of images that show the same picture: changed in light, size or quality, or mirrored.

Two bounds stand before the correlation of two thumbnails, a coarse one on which cells are made and a finer
one. Neither is ever below it, so no pair is missed, and there is no loop over pairs.
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
"""Smallest correlation of the 32x32 thumbnails of twins, as in the cut of the search."""
WAVES = 20
"""Cosines with fewer waves than this, across and down together, make the bound; fewer let more through."""
AXES = 64
"""Axes of the coarse bound, those along which the images differ most."""
AT_ONCE = 8192
"""Images that a thread compares with the others at a time, at most: the more, the fewer looks into cells."""
ROWS = 2048
"""Images that are held against each other in full at a time."""
PAIRS = 4096
"""Pairs compared in full at a time."""
TIE = 1e-5
"""Correlations that differ by less are equal: copies need not be compared with each other."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """P pairs of images, each pair once."""

    first: Ints
    second: Ints
    """[P], places of the images."""
    similarity: Floats
    """[P], correlation as the rule computes it."""

    @classmethod
    def none(cls) -> "Pairs":
        """No pair."""
        empty = np.zeros(0, np.int64)
        return cls(first=empty, second=empty, similarity=np.zeros(0, np.float32))


class Similarity:
    """Images ready to be compared."""

    def __init__(self, thumbnails: Bytes) -> None:
        """Take thumbnails [N, h, w]."""
        self.thumbnails = thumbnails
        self._basis = _basis(thumbnails.shape[1])
        with one_thread():
            blocks = [
                self._shortened(unit_vectors(thumbnails[block])) for block in _blocks(len(thumbnails), ROWS)
            ]
            self._waves = np.concatenate([np.zeros((0, self._basis.shape[1] + 1), np.float32), *blocks])
            self._axes = _principal_axes(self._waves[:, :-1])
            self._cells = Cells(self._project(self._waves))

    def same(self) -> Pairs:
        """Pairs whose thumbnails correlate, whatever the light, size and quality."""
        return self._pairs(self.thumbnails)

    def mirrored(self) -> Pairs:
        """Pairs of which one is the other mirrored left to right; no image with itself."""
        return self._pairs(self.thumbnails[:, :, ::-1])

    def nearest(self, thumbnails: Bytes, own: Ints | None = None) -> tuple[Ints, Floats]:
        """For each of A thumbnails the likest of the N, or one less like it by `TIE` at most, and how alike.

        Args:
            thumbnails: [A, h, w].
            own: [A], for each one of the N that does not count, itself.

        Returns:
            [A] places among the N and [A] correlations; -2 where there is no other.
        """

        def compared(block: slice) -> Pairs:
            vectors = unit_vectors(thumbnails[block])
            waves, rows = self._shortened(vectors), np.arange(len(vectors))
            place, best = np.zeros(len(vectors), np.int64), np.full(len(vectors), -2, np.float32)

            def take(of: Ints, to: Ints) -> None:
                similarity = np.einsum("ij,ij->i", vectors[of], unit_vectors(self.thumbnails[to]))
                order = np.argsort(similarity, kind="stable")
                order = order[similarity[order] > best[of[order]]]
                # The last of what is written to one place stays.
                place[of[order]], best[of[order]] = to[order], similarity[order]

            def bounds(start: int) -> Floats:
                products: Floats = waves @ self._waves[start : start + ROWS].T
                if own is not None:
                    there = np.flatnonzero((own[block] >= start) & (own[block] < start + ROWS))
                    products[there, own[block][there] - start] = -2
                return products

            starts = range(0, len(self.thumbnails), ROWS)
            # The likeliest first: then hardly another has a bound above what is found.
            likeliest, most = np.zeros(len(rows), np.int64), np.full(len(rows), -2, np.float32)
            for start in starts:
                products = bounds(start)
                column = products.argmax(1)
                better = np.flatnonzero(products[rows, column] > most)
                likeliest[better], most[better] = start + column[better], products[better, column[better]]
            there_is = np.flatnonzero(most > -2)
            take(there_is, likeliest[there_is])
            for start in starts:
                of, to = np.nonzero(bounds(start) > best[:, None] + TIE)
                for first in range(0, len(of), PAIRS):
                    take(of[first : first + PAIRS], start + to[first : first + PAIRS])
            return Pairs(first=rows + block.start, second=place, similarity=best)

        found = together(compared, len(thumbnails), ROWS)
        return found.second, found.similarity

    def _pairs(self, asked: Bytes) -> Pairs:
        found = self._near(asked)
        once = found.second < found.first
        return Pairs(first=found.second[once], second=found.first[once], similarity=found.similarity[once])

    def _near(self, asked: Bytes) -> Pairs:
        """Pairs of asked thumbnails [A, h, w] with those of the N that are their twins."""

        def compared(block: slice) -> Pairs:
            vectors = unit_vectors(asked[block])
            waves = self._shortened(vectors)
            least = np.full(len(vectors), TWINS, np.float32)
            found = [Pairs.none()]
            for rows, places, _ in self._cells.near(self._project(waves), least):
                for start in range(0, len(rows), PAIRS):
                    of, to = rows[start : start + PAIRS], places[start : start + PAIRS]
                    near = np.einsum("ij,ij->i", waves[of], self._waves[to]) >= TWINS - ROUNDING
                    of, to = of[near], to[near]
                    similarity = np.einsum("ij,ij->i", vectors[of], unit_vectors(self.thumbnails[to]))
                    kept = similarity >= TWINS
                    of, to = of[kept] + block.start, to[kept]
                    found.append(Pairs(first=of, second=to, similarity=similarity[kept]))
            return joined(found)

        return together(compared, len(asked), AT_ONCE)

    def _shortened(self, vectors: Floats) -> Floats:
        """[N, 210], whose products are never below the correlations.

        The last number is the length of what they leave out: what two vectors leave out can
        agree by no more than the product of these lengths.
        """
        return _with_rest(vectors @ self._basis, (vectors**2).sum(1))

    def _project(self, waves: Floats) -> Floats:
        """[N, 65], coarser by the same rule."""
        return _with_rest(waves[:, :-1] @ self._axes, (waves**2).sum(1))


def unit_vectors(thumbnails: Bytes | Floats) -> Floats:
    """Thumbnails [N, h, w] as rows [N, h * w] of mean 0 and length 1, so that products are correlations.

    A flat thumbnail has no correlation with anything, not even itself: its row is zero.
    """
    rows = thumbnails.reshape(len(thumbnails), math.prod(thumbnails.shape[1:])).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # One pixel that differs by one grey gives 0.7 or more; what is shorter is rounding.
    return (rows / np.where(lengths > 0.5, lengths, np.inf)).astype(np.float32)


def slowest(waves: int) -> tuple[Ints, Ints]:
    """Numbers, down and across, of the waves that are fewer than so many together, but the constant."""
    numbers = np.arange(waves)
    together = numbers[:, None] + numbers
    down, across = np.nonzero((together > 0) & (together < waves))
    return down, across


def dct_basis(side: int, waves: int) -> Floats:
    """[side, waves], cosines of 0, 1, ... half waves, each of length 1 and square to all others."""
    cosines = np.cos(np.pi / side * (np.arange(side) + 0.5)[:, None] * np.arange(waves))
    return np.asarray(cosines / np.linalg.norm(cosines, axis=0), np.float32)


def together(compared: Callable[[slice], Pairs], n: int, most: int) -> Pairs:
    """The pairs of every block of n images, of so many at most, which are compared in threads."""
    # Products by one thread each: small ones take longer with two, and threads within threads wait.
    with one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
        return joined([Pairs.none(), *pool.map(compared, _blocks(n, most))])


def joined(found: Sequence[Pairs]) -> Pairs:
    """All pairs, in their order."""
    return Pairs(
        first=np.concatenate([pairs.first for pairs in found]),
        second=np.concatenate([pairs.second for pairs in found]),
        similarity=np.concatenate([pairs.similarity for pairs in found]),
    )


def one_thread() -> threadpool_limits:
    """Products by one thread."""
    return threadpool_limits(1, "blas")


def _basis(side: int) -> Floats:
    """[side * side, 209], the slowest waves of an image."""
    cosines = dct_basis(side, WAVES)
    down, across = slowest(WAVES)
    return (cosines[:, None, down] * cosines[None, :, across]).reshape(side * side, -1)


def _blocks(n: int, most: int) -> list[slice]:
    """Even parts of n images, as many for each core, of no more than so many images."""
    cores = os.cpu_count() or 1
    parts = min(n, cores * -(-n // (cores * most)))
    ends = np.linspace(0, n, parts + 1).round().astype(int).tolist() if n else []
    return [slice(*both) for both in pairwise(ends)]


def _with_rest(short: Floats, squares: Floats) -> Floats:
    """A column more: the length of what is left out of vectors whose squared lengths are given."""
    rest = np.clip(squares - (short**2).sum(1), 0, None)
    return np.column_stack([short, np.sqrt(rest)]).astype(np.float32)


def _principal_axes(vectors: Floats) -> Floats:
    """[K, 64], square to each other and of length 1: along them vectors [N, K] spread most."""
    centred = vectors - vectors.mean(0) if len(vectors) else vectors
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.ascontiguousarray(axes[:, : -AXES - 1 : -1], np.float32)
