"""Split images in two so that no group of related images is on both sides."""

import numpy as np

from tune_brain.array_types import Flags, Ints, Names
from tune_brain.errors import DataError

PASSES = 3
"""Passes over the groups in which each may change sides."""
LARGEST = 0.25
"""A group is large if it holds more than this share of the images that its class should give."""


def cut(labels: Ints | Names, groups: Ints, share: float, seed: int) -> Flags:
    """Hold out about a given share of every class, in whole groups, with every class on both sides.

    Args:
        labels: [N] classes, by number or name.
        groups: [N] group numbers.
        share: share of each class to hold out, between 0 and 1.
        seed: determines the order in which groups are tried.

    Returns:
        [N] true where held out.

    Raises:
        DataError: no such split leaves every class on both sides.
    """
    classes, label = np.unique(labels, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((group.max() + 1, len(classes)), np.int64)
    np.add.at(counts, (group, label), 1)
    order = _random_order(counts, share, seed)
    held_out = _hold_out(counts, share, order)
    _add_missing(counts, held_out, order)
    taken, sizes = counts[held_out].sum(axis=0), counts.sum(axis=0)
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


def _random_order(counts: Ints, share: float, seed: int) -> Ints:
    """[G] indices of the groups in random order, large ones last.

    Many small groups are held out that way, instead of one series that resembles nothing in training.

    Args:
        counts: [G, C] images of each group and class.
        share: see `cut`.
        seed: see `cut`.
    """
    order = np.random.default_rng(seed).permutation(len(counts))
    large = (counts / counts.sum(axis=0)).max(axis=1) > share * LARGEST
    return order[np.argsort(large[order], kind="stable")]


def _hold_out(counts: Ints, share: float, order: Ints) -> Flags:
    """[G] flags of the groups to hold out.

    Each in turn changes sides if that brings the classes, taken together, closer to the share.
    """
    sizes = counts.sum(axis=0)
    held_out, taken = np.zeros(len(counts), bool), np.zeros_like(sizes)

    def distance(count: Ints) -> float:
        return float(((count / sizes - share) ** 2).sum())

    for index in np.tile(order, PASSES):
        moved = taken - counts[index] if held_out[index] else taken + counts[index]
        if distance(moved) < distance(taken):
            held_out[index], taken = not held_out[index], moved
    return held_out


def _add_missing(counts: Ints, held_out: Flags, order: Ints) -> None:
    """Hold out the smallest possible group of each class that is missing there, the smallest class first."""
    sizes = counts.sum(axis=0)
    for label in np.argsort(sizes):
        taken = counts[held_out].sum(axis=0)
        if taken[label]:
            continue
        if possible := [i for i in order if counts[i, label] and (taken + counts[i] < sizes).all()]:
            held_out[min(possible, key=lambda i: counts[i].sum())] = True


def _indivisible(images: int, groups: int) -> str:
    """Why a class with so many images in so many groups cannot be split, in words."""
    if images == 1:
        return "it has only one image left in training"
    left = f"its {images} images left in training are"
    return f"{left} one group" if groups == 1 else f"{left} {groups} groups, which other classes share"
