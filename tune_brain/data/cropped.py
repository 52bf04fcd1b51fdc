"""Pairs of images of which one is the other less a margin.

Slow waves of an image hardly change when a crop is off by a little. So crops in a few places are compared by
these, in cells; the likeliest few of each image's candidates are fitted in full.
"""

import numpy as np
from numpy.typing import NDArray

from tune_brain.data.cells import Cells, Found, joined
from tune_brain.data.similarity import AT_ONCE, Pairs, dct_basis, one_thread, slowest, together

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Window = tuple[float, float, float]

WHOLE = (0.0, 0.0, 1.0)
WINDOWS = (*((x, y, 0.97) for x in (0.0075, 0.0225) for y in (0.0075, 0.0225)), (0.03, 0.03, 0.94))
"""Left, top and side of the crops that are tried, as parts of the image: no crop of 3 % is 0.75 % away."""
SLOW, SLOWLY = 12, 0.98
"""Waves, across and down together, by which candidates are looked for, and their smallest correlation."""
FINE, FINELY = 20, 0.965
"""Waves by which the likeliest candidates and their window are chosen, and their smallest correlation."""
PART = 0.5
"""Part of the way into other cells that is looked at: to look all the way compares five times as many images
and finds one more of 134,609 crops."""
CANDIDATES, LIKELIEST = 16, 4
"""Candidates of each image in each window, and how many of them are fitted."""
CROPPED = 0.99
"""Smallest correlation of 48x48 images of cropped twins, once small shifts and zooms are fitted.

On generated images cropped by 3 % it is 0.993 at least, of different ones 0.980 at most; on real ones
neighbouring slices reach 0.988.
"""
CLOSE = 0.98
"""From here on the other windows are fitted as well: the likeliest is not always the right one."""
COMPARED, FITTED = 4096, 64
"""Pairs compared by waves, and fitted, at a time: what they take fits into a core's cache."""


def cropped(images: Bytes) -> Pairs:
    """Pairs of images [N, s, s] of which one is the other less up to 3 % of each side."""
    n = len(images)
    with one_thread():
        starts = range(0, n + 1, COMPARED)
        whole = np.concatenate([_waves(images[start : start + COMPARED], WHOLE) for start in starts])
        cells = Cells(_slow(whole))

    def compared(block: slice) -> Pairs:
        windows = np.stack([_waves(images[block], window) for window in WINDOWS])
        every = []
        for waves in windows:
            best: Found = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
            for found in cells.near(_slow(waves), np.full(len(waves), SLOWLY, np.float32), PART):
                rows, places, products = joined([best, found])
                products[rows + block.start == places] = -1
                kept = _best(rows, products, CANDIDATES)
                best = rows[kept], places[kept], products[kept]
            every.append(best[0] * n + best[1])
        rows, places = np.divmod(np.unique(np.concatenate(every)), max(n, 1))
        other = rows + block.start != places
        rows, places = rows[other], places[other]
        number, similarity = _likest_window(windows, whole, rows, places)
        kept = _best(rows, similarity, LIKELIEST)
        kept = kept[similarity[kept] >= FINELY]
        first, second, number = rows[kept] + block.start, places[kept], number[kept]
        fitted = np.zeros(len(first), np.float32)
        for of in range(len(WINDOWS)):
            _fit(images, first, second, fitted, np.flatnonzero(number == of), of)
        close = (fitted >= CLOSE) & (fitted < CROPPED)
        for of in range(len(WINDOWS)):
            _fit(images, first, second, fitted, np.flatnonzero(close & (number != of)), of)
        enough = fitted >= CROPPED
        return Pairs(first=first[enough], second=second[enough], similarity=fitted[enough])

    return _once(together(compared, n, AT_ONCE))


def _best(rows: Ints, values: Floats, most: int) -> Ints:
    """Places of the largest few values, within -1..1, of each row."""
    order = np.argsort(rows * 4.0 - values)
    ordered = rows[order]
    best: Ints = order[np.arange(len(rows)) - np.searchsorted(ordered, ordered) < most]
    return best


def _likest_window(windows: Floats, whole: Floats, rows: Ints, places: Ints) -> tuple[Ints, Floats]:
    """[P], in which window [5, R, K] of an image it is most like another [N, K], and how like."""
    number, similarity = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.float32)
    for start in range(0, len(rows), COMPARED):
        part = slice(start, start + COMPARED)
        others = whole[places[part]]
        likeness = np.stack([np.einsum("ij,ij->i", waves[rows[part]], others) for waves in windows])
        number[part], similarity[part] = likeness.argmax(0), likeness.max(0)
    return number, similarity


def _fit(images: Bytes, first: Ints, second: Ints, fitted: Floats, chosen: Ints, window: int) -> None:
    """Fit the chosen pairs in a window; the best fit of each stays."""
    for start in range(0, len(chosen), FITTED):
        part = chosen[start : start + FITTED]
        fit = _similarity(_crop(images[first[part]], WINDOWS[window]), images[second[part]])
        fitted[part] = np.maximum(fitted[part], fit)


def _waves(images: Bytes, window: Window) -> Floats:
    """[N, 209], the slow waves of a window of each image [N, s, s], of length 1 in all."""
    left, top, part = window
    side = images.shape[1]
    across, down = (dct_basis(side, FINE).T @ _resampling(start, part, side) for start in (left, top))
    waves: Floats = np.matmul(np.matmul(down, images.astype(np.float32)), across.T)
    return _unit(waves[:, *slowest(FINE)], 0.5)


def _slow(waves: Floats) -> Floats:
    """[N, 77], the slower of waves [N, 209], of length 1."""
    return _unit(waves[:, np.add(*slowest(FINE)) < SLOW], 0.05)


def _unit(vectors: Floats, shortest: float) -> Floats:
    """Vectors of length 1, or 0 where they are shorter than that: mere rounding."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > shortest, lengths, np.inf), np.float32)


def _crop(images: Bytes, window: Window) -> Floats:
    """A window of each image [N, s, s] at the size of the whole."""
    left, top, part = window
    across, down = (_resampling(start, part, images.shape[1]) for start in (left, top))
    cut: Floats = np.matmul(np.matmul(down, images.astype(np.float32)), across.T)
    return cut


def _resampling(start: float, part: float, side: int) -> Floats:
    """[side, side], which averages the source pixels that each target pixel covers."""
    edges = np.linspace(start * side, (start + part) * side, side + 1)
    places = np.arange(side)
    cover = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    cover = np.clip(cover, 0, None)
    shares: Floats = (cover / cover.sum(1, keepdims=True)).astype(np.float32)
    return shares


def _similarity(images: Floats, others: Bytes) -> Floats:
    """[P], how well each image [P, s, s], shifted and zoomed a little and in another light, gives the other.

    To first order a small shift or zoom adds a multiple of the image's slope: what is returned is the
    multiple correlation of the other with the image and its slopes.
    """
    p, side = images.shape[:2]
    down, across = np.gradient(images, axis=(1, 2))
    place = np.asarray((np.arange(side) - (side - 1) / 2) / (side / 2), np.float32)
    zoom = across * place + down * place[:, None]
    parts = np.stack([images, across, down, zoom, others.astype(np.float32)], axis=1).reshape(p, 5, -1)
    parts = parts - parts.mean(2, keepdims=True)
    every = np.matmul(parts, parts.transpose(0, 2, 1)).astype(np.float64)
    products, with_aim, total = every[:, :4, :4], every[:, :4, 4:], every[:, 4, 4]
    # The least of ridges, so that images without slopes can be solved for as well.
    ridge = 1e-9 * np.trace(products, axis1=1, axis2=2)[:, None, None] * np.eye(4) + 1e-9 * np.eye(4)
    explained = (with_aim * np.linalg.solve(products + ridge, with_aim)).sum((1, 2))
    share = np.clip(explained, 0, None) / np.where(total > 0, total, np.inf)
    return np.asarray(np.sqrt(share), np.float32)


def _once(pairs: Pairs) -> Pairs:
    """Each pair once, in one order, by its best similarity."""
    low, high = np.minimum(pairs.first, pairs.second), np.maximum(pairs.first, pairs.second)
    order = np.argsort(-pairs.similarity, kind="stable")
    ends, kept = np.unique(np.stack([low, high])[:, order], axis=1, return_index=True)
    return Pairs(first=ends[0], second=ends[1], similarity=pairs.similarity[order][kept])
