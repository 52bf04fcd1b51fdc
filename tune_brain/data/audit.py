"""Find what is wrong with an image folder before spending time on training; nothing is changed.

The facts are plain JSON, explained in results/README.md.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.data.catalogue import Catalogue, LeftOut, by_class, by_reason, scan, without
from tune_brain.data.decoding import Advance
from tune_brain.data.findings import summary
from tune_brain.data.groups import join, of_two_kinds
from tune_brain.data.image_facts import ImageFacts, read_facts
from tune_brain.data.patients import in_groups, numbered, patient_names
from tune_brain.data.samples import Pictures, pictures
from tune_brain.data.shapes import aspects, dimensions, resizing
from tune_brain.data.shift import DARK, floor, nearness, origin, statistics
from tune_brain.data.similarity import one_thread
from tune_brain.data.split import blocks
from tune_brain.data.twins import Twins, all_twins
from tune_brain.text import legible

FORMAT = 4
METHOD = 7
"""Increased whenever the same files could get other findings, so that older cached findings are ignored."""
SHOWN = 3
"""Largest number of pairs listed of each kind."""
LISTED = 20
"""Largest number of conflicts listed."""

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Names = NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The result of an audit."""

    facts: dict[str, Any]
    """Plain JSON values."""
    catalogue: Catalogue
    """The N readable images."""
    squashed: NDArray[np.uint8]
    """[N, 48, 48], the images resized to a square."""
    shown: tuple[tuple[int, int], ...]
    """Indices of the images of each listed pair."""

    def pictures(self) -> Pictures:
        """The pictures that a page shows beside the facts."""
        return pictures(self.catalogue, self.squashed, self.shown)


def audit(root: Path, advance: Advance | None = None, *, strict: bool = False) -> Audit:
    """Audit every file of an image folder.

    Args:
        root: the image folder, see `tune_brain.data.catalogue.scan`.
        advance: reports progress while decoding.
        strict: raise if a file cannot be read for a transient reason, instead of listing it as unreadable.

    Raises:
        DataError: the folder is not a usable data set, or cannot be read.
    """
    catalogue = scan(root)
    known = patient_names(root, (image.name for image in catalogue.images))
    images, failures = read_facts([root / image.name for image in catalogue.images], advance, strict=strict)
    left_out, catalogue = catalogue.left_out, without(catalogue, failures)
    classes = [legible(name) for name in catalogue.classes]
    names = [legible(image.name) for image in catalogue.images]
    labels = np.array([image.label for image in catalogue.images])
    parts = np.array([image.part for image in catalogue.images])
    test = parts == "test"
    # Run side by side: both use threads, but each has stretches in which only one is busy. The BLAS limit is
    # set around both, because each sets it too and restores the value that it found.
    with one_thread(), ThreadPoolExecutor(1) as background:
        nearest_future = background.submit(nearness, images.thumbnails, labels, test, classes)
        twins = all_twins(images)
        nearest, neighbours = nearest_future.result()
    leaks = {rule: test & np.isin(group, group[~test]) for rule, group in twins.groups.items()}
    paths = [image.name for image in catalogue.images]
    patients = numbered(known, paths)
    # As in a search, see `prepare`.
    person = in_groups(patients, np.arange(len(paths)))
    treated = test & np.isin(person, person[~test])
    seen = leaks["mirrored"] | treated
    series = in_groups(patients, blocks(paths, images.thumbnails))
    # Groups are formed on each side separately, and outside the test without mirrored twins: linked by all of
    # these, the blocks would merge into one group.
    observations = np.zeros(len(labels), np.int64)
    for side, rule in ((test, "mirrored"), (~test, "alike")):
        if side.any():
            observations[side] = join(twins.groups[rule][side], series[side])
    shown = _shown(twins, parts)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": legible(root.resolve().name),
        "classes": classes,
        "parts": list(catalogue.parts),
        "counts": {part: by_class(labels[parts == part], classes) for part in dict.fromkeys(parts.tolist())},
        "files": _files(catalogue, images, left_out, test),
        "dimensions": dimensions(images.sizes, parts),
        "resizing": resizing(images.sizes),
        "aspects": aspects(images.sizes, parts),
        "twins": {
            "pairs": {kind: len(pairs.first) for kind, pairs in twins.pairs.items()},
            **{
                rule: _group_counts(group, labels, leaks[rule], parts) for rule, group in twins.groups.items()
            },
        },
        "patients": {
            "known": len(np.unique(patients[patients >= 0])),
            "images": int((patients >= 0).sum()),
            "leaked": int(treated.sum()),
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
        "looks": _quartiles(images, labels, parts, classes),
        "origin": origin(statistics(images), labels, test, seen, observations, classes),
        "floor": floor(labels, test, seen, neighbours) if test.any() else {},
    }
    facts["summary"] = summary(facts)
    pairs = tuple((first, second) for _, first, second, _ in shown)
    return Audit(facts=facts, catalogue=catalogue, squashed=images.fine, shown=pairs)


def _group_counts(group: Ints, labels: Ints, leaked: Flags, parts: Names) -> dict[str, int]:
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
    """The first groups of twins with more than one label: up to four names of each, and the classes."""
    conflicts = []
    for number in of_two_kinds(group, labels)[:LISTED]:
        members = np.flatnonzero(group == number)
        # One image of each class comes first, so that the names show the conflict.
        _, one_each = np.unique(labels[members], return_index=True)
        listed = [*members[one_each], *np.delete(members, one_each)][:4]
        conflicts.append(
            {
                "names": [names[i] for i in listed],
                "classes": [classes[label] for label in np.unique(labels[members])],
                "n": len(members),
            }
        )
    return conflicts


def _shown(twins: Twins, parts: Names) -> list[tuple[str, int, int, float]]:
    """A few pairs of each kind, one per group: pairs across parts first, then the least similar."""
    shown = []
    for kind, pairs in twins.pairs.items():
        within = parts[pairs.first] == parts[pairs.second]
        order = np.lexsort((pairs.second, pairs.first, pairs.similarity, within))
        _, once = np.unique(twins.groups["any"][pairs.first[order]], return_index=True)
        shown += [
            (kind, int(pairs.first[i]), int(pairs.second[i]), float(pairs.similarity[i]))
            for i in order[np.sort(once)[:SHOWN]]
        ]
    return shown


def _files(
    catalogue: Catalogue, images: ImageFacts, left_out: Sequence[LeftOut], test: Flags
) -> dict[str, Any]:
    """The unreadable, left-out and odd files by kind: how many, and up to five names."""
    unreadable = catalogue.left_out[: len(catalogue.left_out) - len(left_out)]
    odd = [
        LeftOut(name=image.name, reason=kind)
        for image, kinds in zip(catalogue.images, images.odd, strict=True)
        for kind in kinds
    ]
    contents = np.array(images.contents)
    kinds = {"unreadable": unreadable, "left_out": left_out, "odd": odd}
    return {
        "readable": len(images.files),
        "distinct": len(set(images.contents)),
        "both_sides": len(np.intersect1d(contents[test], contents[~test])),
        **{name: by_reason(every) for name, every in kinds.items()},
    }


def _quartiles(images: ImageFacts, labels: Ints, parts: Names, classes: Sequence[str]) -> dict[str, Any]:
    """By part and class: quartiles of each statistic, and the mean share of pixels in 64 bins of grey."""
    by_image = statistics(images)
    shares = images.histograms.reshape(-1, 64, 4).sum(2) / images.histograms.sum(1, keepdims=True)
    quartiles: dict[str, Any] = {"dark_below": DARK}
    for part in dict.fromkeys(parts.tolist()):
        quartiles[part] = {}
        for number, name in enumerate(classes):
            own = (parts == part) & (labels == number)
            quartiles[part][name] = {
                statistic: np.quantile(values[own], (0.25, 0.5, 0.75)).round(4).tolist()
                for statistic, values in by_image.items()
            } | {"greys": shares[own].mean(0).round(5).tolist()}
    return quartiles
