"""Cut images in two so that no group of images that belong together stands on both sides."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tune_brain.data.similarity import unit_vectors
from tune_brain.errors import DataError


def blocks(names: Sequence[str], thumbnails: NDArray[np.uint8], size: int = 20) -> NDArray[np.int64]:
    """Group images of neighbouring file numbers, which tend to be neighbouring slices of one patient.

    A series is the files of one folder whose names differ in their numbers alone. Where a series is ordered,
    files that agree in all numbers but the one that counts are grouped in blocks of `size`; every other image
    is a group of its own. Blocks in a series that is not ordered would tie strangers together, and through
    their twins the whole class into one group. A few images are in order by luck, so series of `size` at most
    are judged by all of their folder: those of patients who are told apart by letters.

    Args:
        names: paths of N images.
        thumbnails: [N, h, w].
        size: images in a block.

    Returns:
        [N] group numbers.
    """
    group = np.arange(len(names))
    vectors = unit_vectors(thumbnails)
    for runs in _judged_together(_series(names), size):
        if sum(map(len, runs)) > size and _ordered(vectors, runs):
            for run in runs:
                for start in range(0, len(run), size):
                    group[run[start : start + size]] = run[start]
    return group


Runs = list[list[int]]


def _judged_together(series: Mapping[tuple[str, str], Runs], size: int) -> Iterable[Runs]:
    together: defaultdict[tuple[str, str], Runs] = defaultdict(list)
    for (folder, name), runs in series.items():
        together[folder, name if sum(map(len, runs)) > size else ""] += runs
    return together.values()


def _series(names: Sequence[str]) -> dict[tuple[str, str], Runs]:
    """The images of each series, in runs that agree in all numbers but the last that varies, in its order.

    By folder and name, whose numbers are 0.
    """
    series: defaultdict[tuple[str, str], list[tuple[tuple[int, ...], int]]] = defaultdict(list)
    for index, name in enumerate(names):
        path = PurePosixPath(name)
        numbers = tuple(map(int, re.findall(r"\d+", path.stem)))
        series[str(path.parent), re.sub(r"\d+", "0", path.stem)].append((numbers, index))
    found = {}
    for place, members in series.items():
        columns = list(zip(*(numbers for numbers, _ in members), strict=True))
        counter = max((i for i, column in enumerate(columns) if len(set(column)) > 1), default=None)
        if counter is None:
            continue
        runs: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for numbers, index in sorted(members):
            runs[numbers[:counter]].append(index)
        found[place] = list(runs.values())
    return found


def _ordered(vectors: NDArray[np.float32], runs: Runs) -> bool:
    """Whether neighbours in the runs are more alike than any two images of them.

    They must be so by a fifth of the way from the mean correlation of all pairs to 1. On the published sets,
    series of slices in order lie at 0.4 to 0.7 of the way, thinned-out ones at 0.26 to 0.5, the others at
    0.18 at most.
    """
    before = [index for run in runs for index in run[:-1]]
    after = [index for run in runs for index in run[1:]]
    if not before:
        return False
    neighbours = np.einsum("ij,ij->i", vectors[before], vectors[after])
    every = [index for run in runs for index in run]
    n, total = len(every), vectors[every].sum(axis=0)
    chance = (total @ total - (vectors[every] ** 2).sum()) / (n * (n - 1))
    return bool(chance < 1 and neighbours.mean() - chance >= 0.2 * (1 - chance))


LARGEST = 0.25
"""A group is large if it is more than this part of what its class gives."""


def cut(
    labels: NDArray[np.int64] | NDArray[np.str_], groups: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.bool_]:
    """Hold out about a share of every class, whole groups at a time, every class on both sides.

    Groups are gone through three times in one random order; each changes sides if that brings the classes
    nearer to the share. Large groups come last, so that what is held out is many groups and not one series
    that looks like nothing in training. A class that is still missing then gives its smallest group.

    Args:
        labels: [N] classes, by number or name.
        groups: [N] group numbers.
        share: part of each class to hold out, between 0 and 1.
        seed: decides the order.

    Returns:
        [N] true where held out.

    Raises:
        DataError: the groups leave a class missing on one side.
    """
    classes, label = np.unique(labels, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((group.max() + 1, len(classes)), np.int64)
    np.add.at(counts, (group, label), 1)
    sizes = counts.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(counts))
    large = (counts / sizes).max(axis=1) > share * LARGEST
    order = order[np.argsort(large[order], kind="stable")]
    held, taken = np.zeros(len(counts), bool), np.zeros(len(classes), np.int64)

    def distance(count: NDArray[np.int64]) -> float:
        return float(((count / sizes - share) ** 2).sum())

    for index in np.tile(order, 3):
        moved = taken - counts[index] if held[index] else taken + counts[index]
        if distance(moved) < distance(taken):
            held[index], taken = not held[index], moved
    for missing in np.argsort(sizes):
        spare = [i for i in order if counts[i, missing] and (taken + counts[i] < sizes).all()]
        if not taken[missing] and spare:
            index = min(spare, key=lambda i: counts[i].sum())
            held[index], taken = True, taken + counts[index]
    if (short := (taken == 0) | (taken == sizes)).any():
        raise DataError(
            "Every class needs images on both sides of a cut that keeps twins and neighbours together",
            found="; ".join(
                f"{name}: {'all its images belong together' if size > 1 else 'one image is left'}"
                for name, size in zip(classes[short], sizes[short].astype(int), strict=True)
            ),
            remedy="Add images of other patients to the class, or give a validation and a test folder.",
        )
    return held[group]
