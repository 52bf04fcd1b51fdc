"""Split images in two so that no group of related images is on both sides."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from tune_brain.data.similarity import unit_vectors
from tune_brain.errors import DataError

BLOCK = 20
"""Images per block, and the largest number of images whose order cannot be judged."""
SPLIT_BLOCKS = 7
"""Blocks that a class should make at least where it is split: a part of 15 % then has one of them."""
SMALLEST_BLOCK = 5
"""Images per block at least. In smaller ones, at least half of the held-out slices would touch training."""


Runs = list[list[int]]


def blocks(names: Sequence[str], thumbnails: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Group images with neighbouring file numbers in blocks of `BLOCK`, see `series_in_order`; [N]."""
    return in_blocks(len(names), series_in_order(names, thumbnails))


def series_in_order(names: Sequence[str], thumbnails: NDArray[np.uint8]) -> list[tuple[int, Runs]]:
    """Find series of neighbouring slices, which tend to be of one patient where their file numbers are close.

    A series is the files of one folder whose names differ only in their numbers. If a series is in slice
    order, its files that agree in all numbers but the running one are a run. A run of at most `BLOCK` images,
    perhaps a patient, is a group; a longer one is cut into blocks; every other image is its own group. In an
    unordered series, blocks would link unrelated images, and through their twins the whole class would become
    one group. A few images can be in order by chance, so the series of at most `BLOCK` images in a folder
    (patients distinguished by letters) are judged together.

    Args:
        names: paths of N images.
        thumbnails: [N, h, w].

    Returns:
        For each series in slice order, how many images its folder has, and its runs as indices of images.
    """
    vectors = unit_vectors(thumbnails)
    in_folder = Counter(str(PurePosixPath(name).parent) for name in names)
    return [
        (in_folder[folder], runs)
        for (folder, _), runs in _judged_together(_series(names)).items()
        if sum(map(len, runs)) > BLOCK and _ordered(vectors, runs)
    ]


def in_blocks(n: int, series: Iterable[tuple[int, Runs]], least: int = 1) -> NDArray[np.int64]:
    """Cut series in blocks.

    Args:
        n: number of images.
        series: see `series_in_order`.
        least: number of blocks that the images of a folder should make at least; where they are too few for
            blocks of `BLOCK`, the blocks are smaller, down to `SMALLEST_BLOCK`.

    Returns:
        [n] group numbers.
    """
    group = np.arange(n)
    for in_folder, runs in series:
        size = min(BLOCK, max(SMALLEST_BLOCK, in_folder // least))
        for run in runs:
            step = size if len(run) > BLOCK else BLOCK
            for start in range(0, len(run), step):
                group[run[start : start + step]] = run[start]
    return group


def _judged_together(series: Mapping[tuple[str, str], Runs]) -> dict[tuple[str, str], Runs]:
    together: defaultdict[tuple[str, str], Runs] = defaultdict(list)
    for (folder, name), runs in series.items():
        together[folder, name if sum(map(len, runs)) > BLOCK else ""] += runs
    return together


def _series(names: Sequence[str]) -> dict[tuple[str, str], Runs]:
    """The images of each series, by folder and name with all numbers set to 0.

    A series is split into runs that agree in all numbers but the last one that varies, and sorted by that.
    """
    series: defaultdict[tuple[str, str], list[tuple[tuple[int, ...], int]]] = defaultdict(list)
    for index, name in enumerate(names):
        path = PurePosixPath(name)
        numbers = tuple(map(int, re.findall(r"\d+", path.stem)))
        series[str(path.parent), re.sub(r"\d+", "0", path.stem)].append((numbers, index))
    runs_of = {}
    for key, members in series.items():
        columns = list(zip(*(numbers for numbers, _ in members), strict=True))
        counter = max((i for i, column in enumerate(columns) if len(set(column)) > 1), default=None)
        if counter is None:
            continue
        runs: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for numbers, index in sorted(members):
            runs[numbers[:counter]].append(index)
        runs_of[key] = list(runs.values())
    return runs_of


def _ordered(vectors: NDArray[np.float32], runs: Runs) -> bool:
    """Whether neighbours in the runs are more similar than pairs of their images on average.

    The excess correlation of neighbours must be at least a fifth of the gap between the mean correlation of
    all pairs and 1. On the published sets this share is 0.4 to 0.7 for ordered series of slices, 0.26 to 0.5
    for thinned-out ones, and at most 0.18 for all others.
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
"""A group is large if it holds more than this share of the images that its class should give."""


def cut(
    labels: NDArray[np.int64] | NDArray[np.str_], groups: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.bool_]:
    """Hold out about a given share of every class, in whole groups, with every class on both sides.

    Makes three passes over the groups in one random order; each group changes sides if that brings the
    classes closer to the share. Large groups come last, so that many groups are held out instead of one
    series that resembles nothing in training. A class that is still missing then gives its smallest group.

    Args:
        labels: [N] classes, by number or name.
        groups: [N] group numbers.
        share: share of each class to hold out, between 0 and 1.
        seed: determines the order of the groups.

    Returns:
        [N] true where held out.

    Raises:
        DataError: no such split leaves every class on both sides.
    """
    classes, label = np.unique(labels, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((group.max() + 1, len(classes)), np.int64)
    np.add.at(counts, (group, label), 1)
    sizes = counts.sum(axis=0)
    order = np.random.default_rng(seed).permutation(len(counts))
    large = (counts / sizes).max(axis=1) > share * LARGEST
    order = order[np.argsort(large[order], kind="stable")]
    held_out, taken = np.zeros(len(counts), bool), np.zeros(len(classes), np.int64)

    def distance(count: NDArray[np.int64]) -> float:
        return float(((count / sizes - share) ** 2).sum())

    for index in np.tile(order, 3):
        moved = taken - counts[index] if held_out[index] else taken + counts[index]
        if distance(moved) < distance(taken):
            held_out[index], taken = not held_out[index], moved
    for missing in np.argsort(sizes):
        spare = [i for i in order if counts[i, missing] and (taken + counts[i] < sizes).all()]
        if not taken[missing] and spare:
            index = min(spare, key=lambda i: counts[i].sum())
            held_out[index], taken = True, taken + counts[index]
    if (short := (taken == 0) | (taken == sizes)).any():
        raise DataError(
            "Every class needs images on both sides of a split that keeps twins and neighbours together",
            found="; ".join(
                f"{classes[i]}: {_indivisible(sizes[i], (counts[:, i] > 0).sum())}"
                for i in np.flatnonzero(short)
            ),
            remedy="Add images of other patients to the class, or provide a validation and a test folder.",
        )
    return held_out[group]


def _indivisible(images: int, groups: int) -> str:
    """Why a class with so many images in so many groups cannot be split, in words."""
    if images == 1:
        return "it has only one image left in training"
    left = f"its {images} images left in training are"
    return f"{left} one group" if groups == 1 else f"{left} {groups} groups, which other classes share"
