"""Twins, images that show the same picture, of every kind, and the groups that follow."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tune_brain.data.cropped import cropped
from tune_brain.data.groups import tied
from tune_brain.data.image_facts import ImageFacts
from tune_brain.data.similarity import Pairs, Similarity, joined

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Twins:
    """Twins among N images."""

    pairs: dict[str, Pairs]
    """By kind; of images that are identical, one stands for all in the kinds that follow."""
    groups: dict[str, Ints]
    """[N] by rule, each coarser than the one before: identical, alike, mirrored (for a search, seen), any."""


def all_twins(looked: ImageFacts) -> Twins:
    """Find the twins among images that were looked at, cropped ones included."""
    pairs = _pairs(looked.pictures, looked.thumbnails)
    groups = _groups(len(looked.files), pairs)
    # One image of each group is enough to find the rest of its twins by. Not of the mirrored ones: a crop is
    # looked for as it stands.
    _, ones = np.unique(groups["alike"], return_index=True)
    pairs["cropped"] = _placed(cropped(looked.fine[ones]), ones)
    every = joined([*pairs.values()])
    groups["any"] = tied(len(looked.files), every.first, every.second)
    return Twins(pairs=pairs, groups=groups)


def twin_groups(digests: Sequence[str], thumbnails: NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """The twins that a cut goes by: equal files and those that look alike; and these with mirrored ones.

    Args:
        digests: one for each of N images.
        thumbnails: [N, 32, 32]. One of one flat grey is like no other.

    Returns:
        [N] group numbers, and [N] of groups in which mirrored copies are, too.
    """
    groups = _groups(len(digests), _pairs(digests, thumbnails))
    return groups["alike"], groups["mirrored"]


def _pairs(contents: Sequence[str], thumbnails: NDArray[np.uint8]) -> dict[str, Pairs]:
    _, first, content = np.unique(np.asarray(contents, str), return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[content] != np.arange(len(contents)))
    similarity = np.ones(len(copies), np.float32)
    distinct = Similarity(thumbnails[first])
    return {
        "identical": Pairs(first=first[content[copies]], second=copies, similarity=similarity),
        "alike": _placed(distinct.same(), first),
        "mirrored": _placed(distinct.mirrored(), first),
    }


def _placed(pairs: Pairs, places: Ints) -> Pairs:
    return Pairs(first=places[pairs.first], second=places[pairs.second], similarity=pairs.similarity)


def _groups(n: int, pairs: dict[str, Pairs]) -> dict[str, Ints]:
    """By kind the groups that it makes with all kinds before it."""
    kinds, found = list(pairs.values()), {}
    for place, kind in enumerate(pairs, 1):
        every = joined(kinds[:place])
        found[kind] = tied(n, every.first, every.second)
    return found
