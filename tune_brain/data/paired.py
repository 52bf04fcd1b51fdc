"""Twins of every kind, and the four rules that follow, each with the pairs of the one before."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tune_brain.data.cropped import cropped
from tune_brain.data.files import Looked
from tune_brain.data.likeness import Likeness, Pairs

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Twins:
    """Twins among N images."""

    pairs: dict[str, Pairs]
    """By kind; of images that are identical, one stands for all in the kinds that follow."""
    groups: dict[str, Ints]
    """[N] by rule, each coarser than the one before: identical, alike, mirrored (for a search, seen), any."""


def paired(looked: Looked) -> Twins:
    """Find the twins among images that were looked at."""
    n = len(looked.files)
    _, first, group = np.unique(np.asarray(looked.pictures), return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[group] != np.arange(n))
    identical = Pairs(first=first[group[copies]], second=copies, similarity=np.ones(len(copies), np.float32))
    distinct = Likeness(looked.thumbnails[first])
    alike, mirrored = _placed(distinct.same(), first), _placed(distinct.mirrored(), first)
    kinds = [identical, alike, mirrored]
    rules = ("identical", "alike", "mirrored")
    groups = {rule: _grouped(n, kinds[: place + 1]) for place, rule in enumerate(rules)}
    # One image of each group is enough to find the rest of its twins by. Not of the mirrored ones: a crop is
    # looked for as it stands.
    _, ones = np.unique(groups["alike"], return_index=True)
    less = _placed(cropped(looked.fine[ones]), ones)
    groups["any"] = _grouped(n, [*kinds, less])
    pairs = {"identical": identical, "alike": alike, "mirrored": mirrored, "cropped": less}
    return Twins(pairs=pairs, groups=groups)


def _placed(pairs: Pairs, places: Ints) -> Pairs:
    return Pairs(first=places[pairs.first], second=places[pairs.second], similarity=pairs.similarity)


def _grouped(n: int, kinds: Sequence[Pairs]) -> Ints:
    """[n] group numbers: images that pairs tie together, directly or through others, share theirs."""
    rows, columns = (np.concatenate([getattr(pairs, end) for pairs in kinds]) for end in ("first", "second"))
    _, group = connected_components(coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(n, n)))
    return np.asarray(group, np.int64)
