"""Pairs of images that show the same picture: changed in light, size or quality, mirrored or cropped.

All pairs are compared, in blocks, by bounds that a part of the dimensions gives, a coarse and a finer one;
what they let through is compared in full. So no pair is missed, and there is no loop over pairs.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tune_brain.data.twins import unit_vectors

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

TWINS = 0.995
"""Smallest correlation of the 32x32 thumbnails of twins, as in the cut of the search."""
CANDIDATES = 0.95
"""Smallest correlation of a thumbnail with a crop of its twin; off by 0.75 % of a side costs up to 0.04."""
CROPPED = 0.99
"""Smallest correlation of 48x48 images of cropped twins, once small shifts and zooms are fitted.

On generated images cropped by 3 % it is 0.993 at least, of different ones 0.980 at most; on real ones
neighbouring slices reach 0.988.
"""
WINDOWS = (*((x, y, 0.97) for x in (0.0075, 0.0225) for y in (0.0075, 0.0225)), (0.03, 0.03, 0.94))
"""Left, top and side of the crops that are tried, as parts of the image: no crop of 3 % is 0.75 % away."""

WAVES = 20
"""Cosines with fewer waves than this, across and down together, make the bound; fewer let more through."""
AXES = 64
"""Axes of the coarse bound, those along which the images differ most."""
LIKEST = 4
"""Candidates for a cropped twin that are compared in full, for each image."""
ROWS, COLUMNS = 512, 2048
"""Images compared with images at a time: their products fit into a core's cache."""
CELLS = 2**23
"""Correlations held at a time while likest images are looked for."""
PAIRS = 4096
"""Pairs compared in full at a time."""


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


class Likeness:
    """Images ready to be compared."""

    def __init__(self, thumbnails: Bytes) -> None:
        """Take thumbnails [N, h, w]."""
        self.thumbnails = thumbnails
        self._basis = _cosines(thumbnails.shape[1])
        with _one_thread():
            blocks = [self._shortened(unit_vectors(thumbnails[block])) for block in _blocks(len(thumbnails))]
            self._waves = np.concatenate([np.zeros((0, self._basis.shape[1] + 1), np.float32), *blocks])
            self._axes = _main_axes(self._waves[:, :-1])
            self._main = self._along_axes(self._waves)

    def same(self, threshold: float = TWINS) -> Pairs:
        """Pairs whose thumbnails correlate, whatever the light, size and quality."""
        return self._pairs(self.thumbnails, threshold)

    def mirrored(self, threshold: float = TWINS) -> Pairs:
        """Pairs of which one is the other mirrored left to right; no image with itself."""
        return self._pairs(self.thumbnails[:, :, ::-1], threshold)

    def cropped(self, fine: Bytes) -> Pairs:
        """Pairs of which one is the other less up to 3 % of each side, from finer images [N, s, s].

        Of each image the likest few of the others are compared with it in full.
        """
        n = len(fine)

        def compared(block: slice) -> Pairs:
            found = []
            for number, window in enumerate(WINDOWS):
                asked = unit_vectors(_crop(fine[block], window, self.thumbnails.shape[1]))
                rows, columns, similarity = self._near(asked, CANDIDATES, n)
                other = rows + block.start != columns
                found.append((rows[other], columns[other], similarity[other], np.full(other.sum(), number)))
            rows, columns, similarity, windows = map(np.concatenate, zip(*found, strict=True))
            kept = _likest(rows, columns, similarity)
            first, second, windows = rows[kept] + block.start, columns[kept], windows[kept]
            fitted = np.zeros(len(kept), np.float32)
            for number, window in enumerate(WINDOWS):
                chosen = np.flatnonzero(windows == number)
                for start in range(0, len(chosen), PAIRS):
                    part = chosen[start : start + PAIRS]
                    whole = _crop(fine[first[part]], window, fine.shape[1])
                    fitted[part] = _fitted(whole, fine[second[part]])
            return _once(first, second, fitted, CROPPED)

        pairs = _together(compared, n)
        return _once(pairs.first, pairs.second, pairs.similarity, CROPPED)

    def nearest(self, asked: Ints, known: Ints) -> tuple[Ints, Floats]:
        """For each of the asked images its likest among the known ones, itself excepted, and how alike.

        Args:
            asked: [A], places of images.
            known: [K], places of images, at least one.

        Returns:
            [A] places and [A] correlations.
        """
        place = np.zeros(len(asked), np.int64)
        similarity = np.full(len(asked), -2, np.float32)
        step = max(1, CELLS // max(len(asked), 1))
        vectors = unit_vectors(self.thumbnails[asked])
        for start in range(0, len(known), step):
            part = known[start : start + step]
            products = vectors @ unit_vectors(self.thumbnails[part]).T
            products[asked[:, None] == part] = -2
            best = products.argmax(1)
            value = products[np.arange(len(asked)), best]
            better = value > similarity
            place[better], similarity[better] = part[best[better]], value[better]
        return place, similarity

    def _pairs(self, asked: Bytes, threshold: float) -> Pairs:
        def compared(block: slice) -> Pairs:
            rows, columns, similarity = self._near(unit_vectors(asked[block]), threshold, block.stop)
            once = columns < rows + block.start
            return Pairs(first=columns[once], second=rows[once] + block.start, similarity=similarity[once])

        return _together(compared, len(asked))

    def _near(self, vectors: Floats, threshold: float, end: int) -> tuple[Ints, Ints, Floats]:
        """Rows of vectors, places of images before `end`, their correlation if it reaches the threshold."""
        waves = self._shortened(vectors)
        main = self._along_axes(waves)
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
        # Rounding must not lose a pair that is just above.
        least = threshold - 1e-4
        for first in range(0, end, COLUMNS):
            rows, columns = np.nonzero(main @ self._main[first : min(first + COLUMNS, end)].T >= least)
            columns += first
            for start in range(0, len(rows), PAIRS):
                of, to = rows[start : start + PAIRS], columns[start : start + PAIRS]
                near = np.einsum("ij,ij->i", waves[of], self._waves[to]) >= least
                of, to = of[near], to[near]
                similarity = np.einsum("ij,ij->i", vectors[of], unit_vectors(self.thumbnails[to]))
                enough = similarity >= threshold
                found.append((of[enough], to[enough], similarity[enough]))
        rows, columns, similarity = map(np.concatenate, zip(*found, strict=True))
        return rows, columns, similarity

    def _shortened(self, vectors: Floats) -> Floats:
        """[N, 210], whose products are never below the correlations.

        The last number is the length of what they leave out: what two vectors leave out can
        agree by no more than the product of these lengths.
        """
        return _with_rest(vectors @ self._basis, (vectors**2).sum(1))

    def _along_axes(self, waves: Floats) -> Floats:
        """[N, 65], coarser by the same rule."""
        return _with_rest(waves[:, :-1] @ self._axes, (waves**2).sum(1))


def _with_rest(short: Floats, squares: Floats) -> Floats:
    """A column more: the length of what is left out of vectors whose squared lengths are given."""
    rest = np.clip(squares - (short**2).sum(1), 0, None)
    return np.column_stack([short, np.sqrt(rest)]).astype(np.float32)


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + ROWS, n)) for start in range(0, n, ROWS)]


def _one_thread() -> threadpool_limits:
    """Products by one thread each: small ones take longer with two, and threads within threads wait."""
    return threadpool_limits(1, "blas")


def _together(compared: Callable[[slice], Pairs], n: int) -> Pairs:
    """The pairs of every block of n images, which are compared in threads."""
    with _one_thread(), ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [Pairs.none(), *pool.map(compared, _blocks(n))]
    return Pairs(
        first=np.concatenate([pairs.first for pairs in found]),
        second=np.concatenate([pairs.second for pairs in found]),
        similarity=np.concatenate([pairs.similarity for pairs in found]),
    )


def _main_axes(vectors: Floats) -> Floats:
    """[K, 64], square to each other and of length 1: along them vectors [N, K] spread most."""
    centred = vectors - vectors.mean(0) if len(vectors) else vectors
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    return np.ascontiguousarray(axes[:, : -AXES - 1 : -1], np.float32)


def _likest(rows: Ints, columns: Ints, similarity: Floats) -> Ints:
    """Places of the likest few columns of each row, each column once."""
    order = np.lexsort((-similarity, columns, rows))
    ends = np.stack([rows[order], columns[order]])
    best = order[np.insert((np.diff(ends, axis=1) != 0).any(0), 0, values=True)[: len(order)]]
    best = best[np.lexsort((columns[best], -similarity[best], rows[best]))]
    start = np.searchsorted(rows[best], rows[best])
    likest: Ints = best[np.arange(len(best)) - start < LIKEST]
    return likest


def _cosines(side: int) -> Floats:
    """[side * side, 209], the slowest waves but the constant, each of length 1 and square to all others."""
    waves, places = np.arange(min(WAVES, side)), np.arange(side) + 0.5
    cosines = np.cos(np.pi / side * places[:, None] * waves)
    cosines /= np.linalg.norm(cosines, axis=0)
    slow = [(a, b) for a in waves for b in waves if 0 < a + b < WAVES]
    basis = [np.outer(cosines[:, a], cosines[:, b]).ravel() for a, b in slow]
    return np.stack(basis, axis=1).astype(np.float32)


def _crop(images: Bytes, window: tuple[float, float, float], side: int) -> Floats:
    """A window of each image [N, s, s] as [N, side, side]."""
    left, top, part = window
    across, down = (_resampling(start, part, images.shape[1], side) for start in (left, top))
    cut: Floats = np.matmul(np.matmul(down, images.astype(np.float32)), across.T)
    return cut


def _resampling(start: float, part: float, source: int, target: int) -> Floats:
    """[target, source], which averages the source pixels that each target pixel covers."""
    edges = np.linspace(start * source, (start + part) * source, target + 1)
    places = np.arange(source)
    cover = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    cover = np.clip(cover, 0, None)
    shares: Floats = (cover / cover.sum(1, keepdims=True)).astype(np.float32)
    return shares


def _fitted(images: Floats, others: Bytes) -> Floats:
    """[P], how well each image [P, s, s], shifted and zoomed a little and in another light, gives the other.

    To first order a small shift or zoom adds a multiple of the image's slope: what is returned is the
    multiple correlation of the other with the image and its slopes.
    """
    p, side = images.shape[:2]
    down, across = np.gradient(images, axis=(1, 2))
    place = (np.arange(side) - (side - 1) / 2) / (side / 2)
    zoom = across * place + down * place[:, None]
    parts = np.stack([images, across, down, zoom], axis=1).reshape(p, 4, -1)
    parts = (parts - parts.mean(2, keepdims=True)).astype(np.float64)
    aim = others.reshape(p, -1).astype(np.float64)
    aim -= aim.mean(1, keepdims=True)
    products = np.matmul(parts, parts.transpose(0, 2, 1))
    with_aim = np.matmul(parts, aim[:, :, None])
    # The least of ridges, so that images without slopes can be solved for as well.
    ridge = 1e-9 * np.trace(products, axis1=1, axis2=2)[:, None, None] * np.eye(4) + 1e-9 * np.eye(4)
    explained = (with_aim * np.linalg.solve(products + ridge, with_aim)).sum((1, 2))
    total = (aim**2).sum(1)
    share = np.clip(explained, 0, None) / np.where(total > 0, total, np.inf)
    return np.asarray(np.sqrt(share), np.float32)


def _once(first: Ints, second: Ints, similarity: Floats, threshold: float) -> Pairs:
    """Pairs that reach the threshold, in one order, by their best similarity."""
    enough = similarity >= threshold
    low, high = np.minimum(first, second)[enough], np.maximum(first, second)[enough]
    order = np.argsort(-similarity[enough], kind="stable")
    ends, kept = np.unique(np.stack([low, high])[:, order], axis=1, return_index=True)
    return Pairs(first=ends[0], second=ends[1], similarity=similarity[enough][order][kept])
