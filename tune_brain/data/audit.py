"""What is wrong with an image folder, found before a minute of training is spent; nothing is changed.

The facts are plain JSON, explained in results/README.md.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.data.catalogue import Catalogue, LeftOut, by_class, by_reason, scan, without
from tune_brain.data.findings import summary
from tune_brain.data.groups import join, of_two_kinds
from tune_brain.data.image_facts import ImageFacts, read_facts
from tune_brain.data.samples import Pictures, pictures
from tune_brain.data.shapes import aspects, dimensions, resizing
from tune_brain.data.shift import DARK, floor, nearness, origin, statistics
from tune_brain.data.similarity import one_thread
from tune_brain.data.split import blocks
from tune_brain.data.twins import Twins, all_twins
from tune_brain.text import legible

FORMAT = 3
METHOD = 4
"""Changes whenever the same files could be judged otherwise, so that older findings are not read back."""
SHOWN = 3
"""Pairs of each kind that are listed."""
LISTED = 20
"""Conflicts that are listed."""

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Names = NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found in a folder."""

    facts: dict[str, Any]
    """Plain JSON values."""
    catalogue: Catalogue
    """The readable images."""
    squashed: NDArray[np.uint8]
    """[N, 48, 48], all of them."""
    shown: tuple[tuple[int, int], ...]
    """Places of the pairs that are listed."""

    def pictures(self) -> Pictures:
        """What a page shows beside the facts."""
        return pictures(self.catalogue, self.squashed, self.shown)


def audit(root: Path, progress: Callable[[int, int], None] | None = None, *, strict: bool = False) -> Audit:
    """Look at every file of an image folder.

    Args:
        root: the image folder, see `tune_brain.data.catalogue.scan`.
        progress: called while decoding with the number of files done and of all.
        strict: refuse a folder in which a file cannot be read for the moment, instead of naming it.

    Raises:
        DataError: the folder cannot be searched, or not read.
    """
    catalogue = scan(root)
    looked, failures = read_facts([root / image.name for image in catalogue.images], progress, strict=strict)
    left_out, catalogue = catalogue.left_out, without(catalogue, failures)
    classes = [legible(name) for name in catalogue.classes]
    names = [legible(image.name) for image in catalogue.images]
    labels = np.array([image.label for image in catalogue.images])
    parts = np.array([image.part for image in catalogue.images])
    test = parts == "test"
    # Both work in threads, and each has stretches in which one of them is busy. The limit lies around both:
    # each sets it and puts back what it found.
    with one_thread(), ThreadPoolExecutor(1) as aside:
        near = aside.submit(nearness, looked.thumbnails, labels, test, classes)
        twins = all_twins(looked)
        nearest, neighbours = near.result()
    leaks = {rule: test & np.isin(group, group[~test]) for rule, group in twins.groups.items()}
    series = blocks([image.name for image in catalogue.images], looked.thumbnails)
    # Each side by itself, and the others without mirrored ones: tied by all of that the blocks become one.
    together = np.zeros(len(labels), np.int64)
    for side, rule in ((test, "mirrored"), (~test, "alike")):
        if side.any():
            together[side] = join(twins.groups[rule][side], series[side])
    shown = _shown(twins, parts)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": legible(root.resolve().name),
        "classes": classes,
        "parts": list(catalogue.parts),
        "counts": {part: by_class(labels[parts == part], classes) for part in dict.fromkeys(parts.tolist())},
        "files": _files(catalogue, looked, left_out, test),
        "dimensions": dimensions(looked.sizes, parts),
        "resizing": resizing(looked.sizes),
        "aspects": aspects(looked.sizes, parts),
        "twins": {
            "pairs": {kind: len(pairs.first) for kind, pairs in twins.pairs.items()},
            **{rule: _counted(group, labels, leaks[rule], parts) for rule, group in twins.groups.items()},
        },
        "leak": {
            name: {"test": int((own := test & (labels == number)).sum())}
            | {rule: int((leaked & own).sum()) for rule, leaked in leaks.items()}
            for number, name in enumerate(classes)
        },
        "conflicts": _conflicts(twins.groups["any"], labels, names, classes),
        "pairs": [
            {
                "kind": kind,
                "first": names[first],
                "second": names[second],
                "similarity": round(similarity, 4),
                "across": bool(parts[first] != parts[second]),
                "classes": [classes[labels[first]], classes[labels[second]]],
            }
            for kind, first, second, similarity in shown
        ],
        "nearest": nearest,
        "looks": _quartiles(looked, labels, parts, classes),
        "origin": origin(statistics(looked), labels, test, leaks["mirrored"], together, classes),
        "floor": floor(labels, test, leaks["mirrored"], neighbours) if test.any() else {},
    }
    facts["summary"] = summary(facts)
    pairs = tuple((first, second) for _, first, second, _ in shown)
    return Audit(facts=facts, catalogue=catalogue, squashed=looked.fine, shown=pairs)


def _counted(group: Ints, labels: Ints, leaked: Flags, parts: Names) -> dict[str, int]:
    sizes = np.bincount(group)
    return {
        "groups": int((sizes > 1).sum()),
        "images": int(sizes[sizes > 1].sum()),
        "across": len(of_two_kinds(group, np.unique(parts, return_inverse=True)[1])),
        "leaked": int(leaked.sum()),
        "conflicts": len(of_two_kinds(group, labels)),
    }


def _conflicts(
    group: Ints, labels: Ints, names: Sequence[str], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The first groups of twins with two labels: up to four names of each, and the classes."""
    found = []
    for number in of_two_kinds(group, labels)[:LISTED]:
        members = np.flatnonzero(group == number)
        # One of each class first, so that the names show the conflict.
        _, one_each = np.unique(labels[members], return_index=True)
        listed = [*members[one_each], *np.delete(members, one_each)][:4]
        found.append(
            {
                "names": [names[i] for i in listed],
                "classes": [classes[label] for label in np.unique(labels[members])],
                "n": len(members),
            }
        )
    return found


def _shown(twins: Twins, parts: Names) -> list[tuple[str, int, int, float]]:
    """A few pairs of each kind, one of a group: those across the parts first, of these the least alike."""
    shown = []
    for kind, found in twins.pairs.items():
        within = parts[found.first] == parts[found.second]
        order = np.lexsort((found.second, found.first, found.similarity, within))
        _, once = np.unique(twins.groups["any"][found.first[order]], return_index=True)
        shown += [
            (kind, int(found.first[i]), int(found.second[i]), float(found.similarity[i]))
            for i in order[np.sort(once)[:SHOWN]]
        ]
    return shown


def _files(
    catalogue: Catalogue, looked: ImageFacts, left_out: Sequence[LeftOut], test: Flags
) -> dict[str, Any]:
    """What is unreadable, left out or odd, by kind: how many, and up to five names."""
    unreadable = catalogue.left_out[: len(catalogue.left_out) - len(left_out)]
    odd = [
        LeftOut(name=image.name, reason=kind)
        for image, kinds in zip(catalogue.images, looked.odd, strict=True)
        for kind in kinds
    ]
    contents = np.array(looked.contents)
    kinds = {"unreadable": unreadable, "left_out": left_out, "odd": odd}
    return {
        "readable": len(looked.files),
        "distinct": len(set(looked.contents)),
        "both_sides": len(np.intersect1d(contents[test], contents[~test])),
        **{name: by_reason(every) for name, every in kinds.items()},
    }


def _quartiles(looked: ImageFacts, labels: Ints, parts: Names, classes: Sequence[str]) -> dict[str, Any]:
    """By part and class: quartiles of each look, and the share of pixels in 64 steps of grey."""
    measured = statistics(looked)
    shares = looked.histograms.reshape(-1, 64, 4).sum(2) / looked.histograms.sum(1, keepdims=True)
    found: dict[str, Any] = {"dark_below": DARK}
    for part in dict.fromkeys(parts.tolist()):
        found[part] = {}
        for number, name in enumerate(classes):
            own = (parts == part) & (labels == number)
            found[part][name] = {
                look: np.quantile(values[own], (0.25, 0.5, 0.75)).round(4).tolist()
                for look, values in measured.items()
            } | {"greys": shares[own].mean(0).round(5).tolist()}
    return found
