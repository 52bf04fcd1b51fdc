"""Pairs of images of which one is a crop of the other.

The low-frequency DCT coefficients of an image hardly change when a crop is slightly misplaced. So a few crops
of each image are looked up in an index of these coefficients, and only the best few candidates are fitted.
"""

import numpy as np

from tune_brain.array_types import Bytes, Float32s, Ints
from tune_brain.data.cells import Cells, Pairs, joined
from tune_brain.data.similarity import AT_ONCE, in_threads, one_thread

Window = tuple[float, float, float]

WHOLE = (0.0, 0.0, 1.0)
WINDOWS = (*((x, y, 0.97) for x in (0.0075, 0.0225) for y in (0.0075, 0.0225)), (0.03, 0.03, 0.94))
"""Left, top and side of the crops that are tried, as shares of the image: every crop of 3 % is less than
0.75 % away from one of them."""
COARSE, COARSE_CORRELATION = 12, 0.98
"""Limit of the DCT frequencies by which candidates are looked up, and the smallest correlation of a
candidate."""
FINE, FINE_CORRELATION = 20, 0.965
"""Limit of the DCT frequencies by which candidates and their windows are ranked, and their smallest
correlation."""
RADIUS_SHARE = 0.5
"""How far other cells are searched: searching all the way compares five times as many images and finds one
more of 134,609 crops."""
CANDIDATES, FITTED = 16, 4
"""Candidates of each image in each window, and how many of an image's candidates are fitted."""
CROPPED = 0.99
"""Smallest correlation of the 48x48 images of cropped twins, after fitting small shifts and zooms.

Measured: at least 0.993 for generated images cropped by 3 %, at most 0.980 for different generated images,
and up to 0.988 for neighbouring slices of real ones.
"""
CLOSE = 0.98
"""From this correlation on, the other windows are fitted too: the one ranked first is not always the right
one."""
COMPARE_AT_ONCE, FIT_AT_ONCE = 4096, 64
"""Pairs whose coefficients are compared, and pairs that are fitted, at a time, so that the data fit into a
core's cache."""


def cropped(images: Bytes) -> Pairs:
    """Find pairs of images [N, s, s] of which one is the other without up to 3 % of each side."""
    n = len(images)
    with one_thread():
        starts = range(0, n + 1, COMPARE_AT_ONCE)
        whole = np.concatenate([_dct(images[start : start + COMPARE_AT_ONCE], WHOLE) for start in starts])
        cells = Cells(_coarse(whole))

    def compare(block: slice) -> Pairs:
        crops = np.stack([_dct(images[block], window) for window in WINDOWS])
        rows, places = _candidates(cells, crops, n, block.start)
        window, similarity = _best_window(crops, whole, rows, places)
        top = _best(rows, similarity, FITTED)
        top = top[similarity[top] >= FINE_CORRELATION]
        first, second = rows[top] + block.start, places[top]
        fits = _fits(images, first, second, window[top])
        match = fits >= CROPPED
        return Pairs(first[match], second[match], fits[match])

    return _once(in_threads(compare, n, AT_ONCE))


def _candidates(cells: Cells, crops: Float32s, n: int, start: int) -> tuple[Ints, Ints]:
    """Pairs of an image of a block and another image that resembles one of its crops.

    Args:
        cells: index of the coefficients of all n images.
        crops: [W, R, K], coefficients of the R images of the block in each window.
        n: number of all images.
        start: index of the first image of the block.

    Returns:
        [P] indices in the block, and [P] indices among all images; each pair once.
    """
    pairs = []
    for dct in crops:
        best = joined([])
        for matches in cells.near(_coarse(dct), COARSE_CORRELATION, RADIUS_SHARE):
            rows, places, products = joined([best, matches])
            products[rows + start == places] = -1
            top = _best(rows, products, CANDIDATES)
            best = Pairs(rows[top], places[top], products[top])
        pairs.append(best.first * n + best.second)
    rows, places = np.divmod(np.unique(np.concatenate(pairs)), max(n, 1))
    other = rows + start != places
    return rows[other], places[other]


def _best(rows: Ints, values: Float32s, most: int) -> Ints:
    """Indices of the `most` largest values of each row; values lie in -1..1."""
    order = np.argsort(rows * 4.0 - values)
    ordered = rows[order]
    best: Ints = order[np.arange(len(rows)) - np.searchsorted(ordered, ordered) < most]
    return best


def _best_window(crops: Float32s, whole: Float32s, rows: Ints, places: Ints) -> tuple[Ints, Float32s]:
    """For P pairs, the window in which one image is most similar to the other, and the correlation there.

    Args:
        crops: [W, R, K], coefficients of R images in each window.
        whole: [N, K], coefficients of the whole images.
        rows: [P], indices among the R images.
        places: [P], indices among the N images.
    """
    window, similarity = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.float32)
    for start in range(0, len(rows), COMPARE_AT_ONCE):
        part = slice(start, start + COMPARE_AT_ONCE)
        others = whole[places[part]]
        by_window = np.stack([np.einsum("ij,ij->i", dct[rows[part]], others) for dct in crops])
        window[part], similarity[part] = by_window.argmax(0), by_window.max(0)
    return window, similarity


def _fits(images: Bytes, first: Ints, second: Ints, window: Ints) -> Float32s:
    """[P], how well each pair fits in its window [P], or in any window if that comes close to a twin."""
    fits = np.zeros(len(first), np.float32)
    for number in range(len(WINDOWS)):
        _fit(images, first, second, fits, np.flatnonzero(window == number), number)
    close = (fits >= CLOSE) & (fits < CROPPED)
    for number in range(len(WINDOWS)):
        _fit(images, first, second, fits, np.flatnonzero(close & (window != number)), number)
    return fits


def _fit(images: Bytes, first: Ints, second: Ints, fits: Float32s, chosen: Ints, window: int) -> None:
    """Fit the chosen pairs in a window, and keep the better of the new and the previous fit of each."""
    for start in range(0, len(chosen), FIT_AT_ONCE):
        part = chosen[start : start + FIT_AT_ONCE]
        fit = _similarity(_crop(images[first[part]], WINDOWS[window]), images[second[part]])
        fits[part] = np.maximum(fits[part], fit)


def _dct_basis(side: int, n: int) -> Float32s:
    """[side, n], the first n vectors of the orthonormal DCT-II basis.

    Vector k is cos(pi / side * (x + 1/2) * k) over the positions x, scaled to length 1.
    """
    cosines = np.cos(np.pi / side * (np.arange(side) + 0.5)[:, None] * np.arange(n))
    return np.asarray(cosines / np.linalg.norm(cosines, axis=0), np.float32)


def _low_frequencies(limit: int) -> tuple[Ints, Ints]:
    """Vertical and horizontal frequencies of the DCT coefficients with a sum in 1..`limit` - 1."""
    numbers = np.arange(limit)
    sums = numbers[:, None] + numbers
    vertical, horizontal = np.nonzero((sums > 0) & (sums < limit))
    return vertical, horizontal


def _dct(images: Bytes, window: Window) -> Float32s:
    """[N, 209], unit vectors of the low-frequency DCT coefficients of a window of each image [N, s, s]."""
    left, top, share = window
    side = images.shape[1]
    horizontal, vertical = (
        _dct_basis(side, FINE).T @ _resampling(start, share, side) for start in (left, top)
    )
    dct: Float32s = np.matmul(np.matmul(vertical, images.astype(np.float32)), horizontal.T)
    return _unit(dct[:, *_low_frequencies(FINE)], 0.5)


def _coarse(dct: Float32s) -> Float32s:
    """[N, 77], unit vectors of the lowest frequencies among the coefficients [N, 209]."""
    return _unit(dct[:, np.add(*_low_frequencies(FINE)) < COARSE], 0.05)


def _unit(vectors: Float32s, shortest: float) -> Float32s:
    """Scale vectors to length 1; those no longer than `shortest` are rounding noise and become 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > shortest, lengths, np.inf), np.float32)


def _crop(images: Bytes, window: Window) -> Float32s:
    """A window of each image [N, s, s], enlarged to the size of the whole image."""
    left, top, share = window
    horizontal, vertical = (_resampling(start, share, images.shape[1]) for start in (left, top))
    crop: Float32s = np.matmul(np.matmul(vertical, images.astype(np.float32)), horizontal.T)
    return crop


def _resampling(start: float, share: float, side: int) -> Float32s:
    """[side, side], a matrix that averages the source pixels that each target pixel covers."""
    edges = np.linspace(start * side, (start + share) * side, side + 1)
    places = np.arange(side)
    cover = np.minimum(edges[1:, None], places + 1) - np.maximum(edges[:-1, None], places)
    cover = np.clip(cover, 0, None)
    shares: Float32s = (cover / cover.sum(1, keepdims=True)).astype(np.float32)
    return shares


def _similarity(images: Float32s, others: Bytes) -> Float32s:
    """[P], correlations of images [P, s, s] with others after the best small shift, zoom and brightness.

    To first order, a small shift or zoom adds a multiple of the image's gradient. So this is the multiple
    correlation of the other image with the image and its gradients.
    """
    p, side = images.shape[:2]
    down, across = np.gradient(images, axis=(1, 2))
    place = np.asarray((np.arange(side) - (side - 1) / 2) / (side / 2), np.float32)
    zoom = across * place + down * place[:, None]
    parts = np.stack([images, across, down, zoom, others.astype(np.float32)], axis=1).reshape(p, 5, -1)
    parts = parts - parts.mean(2, keepdims=True)
    every = np.matmul(parts, parts.transpose(0, 2, 1)).astype(np.float64)
    products, with_target, total = every[:, :4, :4], every[:, :4, 4:], every[:, 4, 4]
    # A tiny ridge penalty, so that the system is solvable for images without gradients too.
    ridge = 1e-9 * np.trace(products, axis1=1, axis2=2)[:, None, None] * np.eye(4) + 1e-9 * np.eye(4)
    explained = (with_target * np.linalg.solve(products + ridge, with_target)).sum((1, 2))
    share = np.clip(explained, 0, None) / np.where(total > 0, total, np.inf)
    return np.asarray(np.sqrt(share), np.float32)


def _once(pairs: Pairs) -> Pairs:
    """Each pair once, sorted by its images, with its highest similarity."""
    low, high = np.minimum(pairs.first, pairs.second), np.maximum(pairs.first, pairs.second)
    order = np.argsort(-pairs.similarity, kind="stable")
    ends, kept = np.unique(np.stack([low, high])[:, order], axis=1, return_index=True)
    return Pairs(ends[0], ends[1], pairs.similarity[order][kept])
