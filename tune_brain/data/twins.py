"""Images that show the same picture."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

CHUNK = 1024


def twin_groups(
    digests: Sequence[str],
    thumbnails: NDArray[np.uint8],
    threshold: float = 0.995,
    *,
    mirrored: bool = False,
) -> NDArray[np.int64]:
    """Group images that are twins of each other, directly or through others.

    Two images are twins when their digests are equal or when the normalised correlation of their thumbnails
    reaches the threshold. A thumbnail of one flat grey correlates with nothing.

    Args:
        digests: one for each of N images.
        thumbnails: [N, h, w].
        mirrored: correlate each with the others mirrored left to right, instead of as they are.
        threshold: smallest correlation of twins; on real sets nearly all pairs above 0.995 are above 0.9999.

    Returns:
        [N] group numbers; twins share theirs.
    """
    if not len(digests):
        return np.zeros(0, np.int64)
    _, first, content = np.unique(np.asarray(digests), return_index=True, return_inverse=True)
    vectors = unit_vectors(thumbnails[first])
    others = unit_vectors(thumbnails[first, :, ::-1]) if mirrored else vectors
    n = len(vectors)
    pairs = [np.zeros((2, 0), np.int64)]
    for start in range(0, n, CHUNK):
        # Each pair once: rows from `start` on against columns up to the end of the chunk.
        correlation = others[start:] @ vectors[start : start + CHUNK].T
        pairs.append(np.stack(np.nonzero(correlation >= threshold)) + start)
    rows, columns = np.concatenate(pairs, axis=1)
    _, group = connected_components(coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(n, n)))
    return group[content].astype(np.int64)


def unit_vectors(thumbnails: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    """Thumbnails [N, h, w] as rows [N, h * w] of mean 0 and length 1, so that products are correlations.

    A flat thumbnail has no correlation with anything, not even itself: its row is zero.
    """
    rows = thumbnails.reshape(len(thumbnails), math.prod(thumbnails.shape[1:])).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    # One pixel that differs by one grey gives 0.7 or more; what is shorter is rounding.
    return (rows / np.where(lengths > 0.5, lengths, np.inf)).astype(np.float32)
