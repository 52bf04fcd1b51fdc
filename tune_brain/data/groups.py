"""Group numbers of images that belong together."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tune_brain.array_types import Flags, Ints


def tied(n: int, first: Ints, second: Ints) -> Ints:
    """[n] group numbers: images connected by pairs, directly or through others, share a group.

    Groups are numbered in the order of their first members.

    Args:
        n: number of images.
        first: [P], index of one image of each pair.
        second: [P], index of the other.
    """
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n))
    _, group = connected_components(graph, directed=False)
    return np.asarray(group, np.int64)


def join(*groupings: Ints) -> Ints:
    """The finest grouping in which images that share a group in any of the given groupings [N] do so too."""
    n = len(groupings[0])
    ties, nodes = list[tuple[Ints, Ints]](), n
    for grouping in groupings:
        # Each group is a node of the graph, connected to its members.
        _, group = np.unique(grouping, return_inverse=True)
        ties.append((np.arange(n), group + nodes))
        nodes += n
    first, second = (np.concatenate(ends) for ends in zip(*ties, strict=True))
    return tied(nodes, first, second)[:n]


def of_two_kinds(groups: Ints, kinds: Ints) -> Ints:
    """Numbers of the groups whose images are of two or more kinds, such as classes or parts.

    Args:
        groups: [N], group number of each image.
        kinds: [N], kind of each image, by number.
    """
    pairs = np.unique(np.stack([groups, kinds]), axis=1)[0]
    numbers, n = np.unique(pairs, return_counts=True)
    return numbers[n > 1]


def share_group(groups: Ints, images: Flags, others: Flags) -> Flags:
    """[N] true for each of `images` that shares a group with any of `others`.

    Args:
        groups: [N], group number of each image.
        images: [N] flags.
        others: [N] flags.
    """
    return images & np.isin(groups, groups[others])


def group_counts(groups: Ints) -> dict[str, int]:
    """How many `groups` have two or more images, and how many `images` are in these."""
    sizes = np.bincount(groups)
    return {"groups": int((sizes > 1).sum()), "images": int(sizes[sizes > 1].sum())}
