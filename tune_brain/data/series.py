"""Find series of neighbouring slices by file names, and cut them in blocks that a split keeps together."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from tune_brain.array_types import Bytes, Float32s, Ints
from tune_brain.data.similarity import unit_vectors

BLOCK = 20
"""Images per block, and the largest number of images whose order cannot be judged."""
SPLIT_BLOCKS = 7
"""Blocks that a class should make at least where it is split: a part of 15 % then has one of them."""
SMALLEST_BLOCK = 5
"""Images per block at least. In smaller ones, at least half of the held-out slices would touch training."""

Runs = list[list[int]]


class Series(NamedTuple):
    """Images of one folder whose file numbers follow the order of slices."""

    folder_size: int
    """Number of images in the folder, those of other series included."""
    runs: Runs
    """Indices of the images in slice order, in one list for each run of numbers: perhaps a patient."""


def ordered_series(names: Sequence[str], thumbnails: Bytes) -> list[Series]:
    """Find the series in slice order: slices with close file numbers tend to be of one patient.

    A series is the files of one folder whose names differ only in their numbers. Its files that agree in all
    numbers but the last one that varies are a run. A series counts only if neighbours in its runs are alike:
    in an unordered one, blocks would link unrelated images, and through their twins the whole class would
    become one group. A few images can be in order by chance, so the series of at most `BLOCK` images in a
    folder (patients distinguished by letters) are judged together, as one.

    Args:
        names: paths of N images.
        thumbnails: [N, h, w].
    """
    vectors = unit_vectors(thumbnails)
    folder_sizes = Counter(str(PurePosixPath(name).parent) for name in names)
    return [
        Series(folder_sizes[folder], runs)
        for folder, runs in _candidates(names)
        if sum(map(len, runs)) > BLOCK and _is_ordered(vectors, runs)
    ]


def in_blocks(n: int, series: Iterable[Series], least: int = 1) -> Ints:
    """Group n images: a run of at most `BLOCK` images is a group, and a longer one is cut in blocks.

    Args:
        n: number of images; those outside the series are groups of their own.
        series: see `ordered_series`.
        least: number of blocks that the images of a folder should make at least; where they are too few for
            blocks of `BLOCK`, the blocks are smaller, down to `SMALLEST_BLOCK`.

    Returns:
        [n] group numbers below n.
    """
    group = np.arange(n)
    for folder_size, runs in series:
        size = min(BLOCK, max(SMALLEST_BLOCK, folder_size // least))
        for run in runs:
            step = size if len(run) > BLOCK else BLOCK
            for start in range(0, len(run), step):
                group[run[start : start + step]] = run[start]
    return group


def _candidates(names: Sequence[str]) -> Iterator[tuple[str, Runs]]:
    """The folder and the runs of each series, all series of at most `BLOCK` images of a folder as one."""
    patterns: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        path = PurePosixPath(name)
        patterns[str(path.parent), re.sub(r"\d+", "0", path.stem)].append(index)
    short: defaultdict[str, Runs] = defaultdict(list)
    for (folder, _), members in patterns.items():
        if len(members) > BLOCK:
            yield folder, _runs(names, members)
        else:
            short[folder] += _runs(names, members)
    yield from short.items()


def _runs(names: Sequence[str], members: Sequence[int]) -> Runs:
    """The runs of a series, given the indices of its images; none if their numbers do not vary."""
    numbers = {
        index: tuple(map(int, re.findall(r"\d+", PurePosixPath(names[index]).stem))) for index in members
    }
    columns = zip(*numbers.values(), strict=True)
    varying = [place for place, column in enumerate(columns) if len(set(column)) > 1]
    if not varying:
        return []
    runs: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for index in sorted(members, key=lambda index: (numbers[index], index)):
        runs[numbers[index][: varying[-1]]].append(index)
    return list(runs.values())


def _is_ordered(vectors: Float32s, runs: Runs) -> bool:
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
