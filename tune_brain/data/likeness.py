"""Pairs of images that show the same picture: changed in light, size or quality, mirrored or cropped.

All pairs are compared, in blocks, by a bound that a part of the dimensions gives; what the bound lets
through is compared in full. So no pair is missed, and there is no loop over pairs.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
CELLS = 2**23
"""Correlations held at a time."""
PAIRS = 1024
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
    """Images as vectors, ready to be compared."""

    def __init__(self, thumbnails: Bytes) -> None:
        """Take thumbnails [N, h, w]."""
        self.thumbnails = thumbnails
        self.vectors = unit_vectors(thumbnails)
        self._basis = _cosines(thumbnails.shape[1])
        self._short = self._shortened(self.vectors)

    def same(self, threshold: float = TWINS) -> Pairs:
        """Pairs whose thumbnails correlate, whatever the light, size and quality."""
        return self._pairs(self.thumbnails, threshold)

    def mirrored(self, threshold: float = TWINS) -> Pairs:
        """Pairs of which one is the other mirrored left to right; no image with itself."""
        return self._pairs(self.thumbnails[:, :, ::-1], threshold)

    def cropped(self, fine: Bytes) -> Pairs:
        """Pairs of which one is the other less up to 3 % of each side, from finer images [N, s, s]."""
        n = len(fine)

        def candidates(window: tuple[float, float, float]) -> list[tuple[Ints, Floats]]:
            asked = _Cropped(fine, window, self.thumbnails.shape[1])
            above = self._above(asked, CANDIDATES, full=True)
            return [(rows * n + columns, similarity) for rows, columns, similarity in above]

        found: dict[int, tuple[float, int]] = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, blocks in enumerate(pool.map(candidates, WINDOWS)):
                for pairs, similarity in blocks:
                    for pair, value in zip(pairs.tolist(), similarity.tolist(), strict=True):
                        if value > found.get(pair, (0.0, 0))[0]:
                            found[pair] = (value, number)
        keys = np.array(list(found), np.int64)
        windows = np.array([number for _, number in found.values()], np.int64)
        fitted = np.zeros(len(keys), np.float32)
        for number, window in enumerate(WINDOWS):
            chosen = np.flatnonzero(windows == number)
            for start in range(0, len(chosen), PAIRS):
                part = chosen[start : start + PAIRS]
                whole, cut = fine[keys[part] // n], fine[keys[part] % n]
                fitted[part] = _fitted(_crop(whole, window, fine.shape[1]), cut)
        return _once(keys // n, keys % n, fitted, CROPPED)

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
        vectors = self.vectors[asked]
        for start in range(0, len(known), step):
            part = known[start : start + step]
            products = vectors @ self.vectors[part].T
            products[asked[:, None] == part] = -2
            best = products.argmax(1)
            value = products[np.arange(len(asked)), best]
            better = value > similarity
            place[better], similarity[better] = part[best[better]], value[better]
        return place, similarity

    def _pairs(self, asked: Bytes, threshold: float) -> Pairs:
        found = [Pairs.none()]
        for rows, columns, similarity in self._above(asked, threshold, full=False):
            found.append(Pairs(first=columns, second=rows, similarity=similarity))
        return Pairs(
            first=np.concatenate([pairs.first for pairs in found]),
            second=np.concatenate([pairs.second for pairs in found]),
            similarity=np.concatenate([pairs.similarity for pairs in found]),
        )

    def _above(
        self, asked: "Bytes | _Cropped", threshold: float, *, full: bool
    ) -> Iterator[tuple[Ints, Ints, Floats]]:
        """Places in `asked` and in the images, and the correlation, where it reaches the threshold.

        Args:
            asked: N images as the N known ones, changed.
            threshold: smallest correlation.
            full: both orders of a pair, and not only the later image asked for the earlier.
        """
        n = len(self.vectors)
        step = max(1, CELLS // max(n, 1))
        for start in range(0, n, step):
            vectors = unit_vectors(asked[start : start + step])
            end = n if full else min(start + step, n)
            # Rounding must not lose a pair that is just above.
            near = self._shortened(vectors) @ self._short[:end].T >= threshold - 1e-4
            rows, columns = np.nonzero(near)
            kept = rows + start != columns if full else columns < rows + start
            rows, columns = rows[kept], columns[kept]
            for first in range(0, len(rows), PAIRS):
                of, to = rows[first : first + PAIRS], columns[first : first + PAIRS]
                similarity = np.einsum("ij,ij->i", vectors[of], self.vectors[to])
                enough = similarity >= threshold
                yield of[enough] + start, to[enough], similarity[enough]

    def _shortened(self, vectors: Floats) -> Floats:
        """[N, 210], whose products are never below the correlations.

        The last number is the length of what they leave out: what two vectors leave out can
        agree by no more than the product of these lengths.
        """
        short = vectors @ self._basis
        rest = np.clip((vectors**2).sum(1) - (short**2).sum(1), 0, None)
        return np.column_stack([short, np.sqrt(rest)]).astype(np.float32)


def _cosines(side: int) -> Floats:
    """[side * side, 209], the slowest waves but the constant, each of length 1 and square to all others."""
    waves, places = np.arange(min(WAVES, side)), np.arange(side) + 0.5
    cosines = np.cos(np.pi / side * places[:, None] * waves)
    cosines /= np.linalg.norm(cosines, axis=0)
    slow = [(a, b) for a in waves for b in waves if 0 < a + b < WAVES]
    basis = [np.outer(cosines[:, a], cosines[:, b]).ravel() for a, b in slow]
    return np.stack(basis, axis=1).astype(np.float32)


class _Cropped:
    """Images [N, s, s] seen through a window, made block by block: all of them would not fit."""

    def __init__(self, fine: Bytes, window: tuple[float, float, float], side: int) -> None:
        self._fine, self._window, self._side = fine, window, side

    def __getitem__(self, block: slice) -> Floats:
        return _crop(self._fine[block], self._window, self._side)


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
