"""Images that belong together, as group numbers."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]


def tied(n: int, first: Ints, second: Ints) -> Ints:
    """[n] group numbers: those that P pairs tie together, directly or through others, share theirs.

    Numbers count groups in the order of their first members.

    Args:
        n: how many there are.
        first: [P], one place of each pair.
        second: [P], the other.
    """
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n))
    _, group = connected_components(graph, directed=False)
    return np.asarray(group, np.int64)


def join(*groupings: Ints) -> Ints:
    """The finest grouping in which images that share a group in any of the given groupings [N] share one."""
    n = len(groupings[0])
    ties, nodes = list[tuple[Ints, Ints]](), n
    for grouping in groupings:
        # A node for each group, to which its members are tied.
        _, group = np.unique(grouping, return_inverse=True)
        ties.append((np.arange(n), group + nodes))
        nodes += n
    first, second = (np.concatenate(ends) for ends in zip(*ties, strict=True))
    return tied(nodes, first, second)[:n]


def of_two_kinds(groups: Ints, kinds: Ints) -> Ints:
    """The numbers of the groups [N] whose images are of two kinds [N] or more: classes, parts."""
    pairs = np.unique(np.stack([groups, kinds]), axis=1)[0]
    numbers, n = np.unique(pairs, return_counts=True)
    return numbers[n > 1]
