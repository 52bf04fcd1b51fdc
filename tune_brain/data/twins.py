"""Find twins, images that show the same picture, and group them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tune_brain.array_types import Bytes, Ints
from tune_brain.data.cells import Pairs, joined
from tune_brain.data.cropped import cropped
from tune_brain.data.groups import tied
from tune_brain.data.image_facts import ImageFacts
from tune_brain.data.similarity import Similarity


@dataclass(frozen=True, kw_only=True)
class Twins:
    """Twins among N images."""

    pairs: dict[str, Pairs]
    """By kind: identical, alike, mirrored, cropped. After the first, one of several identical images
    represents all of them; in `cropped`, also one of several alike images."""
    groups: dict[str, Ints]
    """[N] by rule, each coarser than the one before: identical, alike, mirrored (to a search, a test image
    with such a twin in training is not unseen), any."""


def all_twins(facts: ImageFacts) -> Twins:
    """Find all twins among images, including cropped ones."""
    pairs = _pairs(facts.pictures, facts.thumbnails)
    groups = _groups(len(facts.files), pairs)
    # One image of each group suffices to find the group's cropped twins. These groups have no mirrored twins,
    # since the search for crops does not mirror.
    _, representatives = np.unique(groups["alike"], return_index=True)
    pairs["cropped"] = _placed(cropped(facts.fine[representatives]), representatives)
    every = joined(pairs.values())
    groups["any"] = tied(len(facts.files), every.first, every.second)
    return Twins(pairs=pairs, groups=groups)


def twin_groups(digests: Sequence[str], thumbnails: Bytes) -> tuple[Ints, Ints]:
    """Group the twins that matter to a search: equal files and similar pictures, and also mirrored ones.

    Args:
        digests: hash of each of N files.
        thumbnails: [N, 32, 32]. A uniformly grey one is similar to no other.

    Returns:
        [N] group numbers of twins, and [N] group numbers of twins and mirrored twins.
    """
    groups = _groups(len(digests), _pairs(digests, thumbnails))
    return groups["alike"], groups["mirrored"]


def _pairs(contents: Sequence[str], thumbnails: Bytes) -> dict[str, Pairs]:
    _, first, content = np.unique(np.asarray(contents, str), return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[content] != np.arange(len(contents)))
    similarity = np.ones(len(copies), np.float32)
    distinct = Similarity(thumbnails[first])
    return {
        "identical": Pairs(first[content[copies]], copies, similarity),
        "alike": _placed(distinct.same(), first),
        "mirrored": _placed(distinct.mirrored(), first),
    }


def _placed(pairs: Pairs, places: Ints) -> Pairs:
    return Pairs(places[pairs.first], places[pairs.second], pairs.similarity)


def _groups(n: int, pairs: dict[str, Pairs]) -> dict[str, Ints]:
    """For each kind, [n] group numbers that join its pairs and those of all kinds before it."""
    kinds, groups = list(pairs.values()), {}
    for count, kind in enumerate(pairs, 1):
        every = joined(kinds[:count])
        groups[kind] = tied(n, every.first, every.second)
    return groups
