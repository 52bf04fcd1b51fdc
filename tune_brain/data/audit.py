"""Find what is wrong with an image folder before spending time on training; nothing is changed.

The facts are plain JSON, explained in results/README.md.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tune_brain.array_types import Bytes, Flags, Ints, Names
from tune_brain.data.catalogue import Catalogue, by_class, scan, unreadable, without
from tune_brain.data.decoding import Advance
from tune_brain.data.findings import summary
from tune_brain.data.groups import group_counts, of_two_kinds, share_group
from tune_brain.data.image_facts import ImageFacts, read_facts
from tune_brain.data.left_out import LeftOut, by_reason
from tune_brain.data.patients import patient_counts, patient_names
from tune_brain.data.related import relate
from tune_brain.data.samples import Pictures, pictures
from tune_brain.data.shapes import aspects, dimensions, resizing
from tune_brain.data.shift import DARK, floor, nearness, origin, statistics
from tune_brain.data.similarity import one_thread
from tune_brain.data.twins import Twins, all_twins
from tune_brain.text import legible

FORMAT = 4
METHOD = 7
"""Increased whenever the same files could get other findings, so that older cached findings are ignored."""
SHOWN = 3
"""Largest number of pairs listed of each kind."""
LISTED = 20
"""Largest number of conflicts listed."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The result of an audit."""

    facts: dict[str, Any]
    """Plain JSON values."""
    catalogue: Catalogue
    """The N readable images."""
    squashed: Bytes
    """[N, 48, 48], the images resized to a square."""
    shown: tuple[tuple[int, int], ...]
    """Indices of the images of each listed pair."""

    def pictures(self) -> Pictures:
        """The pictures that a page shows beside the facts."""
        return pictures(self.catalogue, self.squashed, self.shown)


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """What the paths of the N readable images say."""

    names: list[str]
    """[N], paths as printable text."""
    classes: list[str]
    """Names as printable text."""
    labels: Ints
    """[N], indices in `classes`."""
    parts: Names
    """[N]."""
    test: Flags
    """[N], true in the test part."""


class _Pair(NamedTuple):
    """A pair of twins to list: its kind, the indices of its images, and their similarity."""

    kind: str
    first: int
    second: int
    similarity: float


def audit(root: Path, advance: Advance | None = None, *, strict: bool = False) -> Audit:
    """Audit every file of an image folder.

    Args:
        root: the image folder, see `tune_brain.data.catalogue.scan`.
        advance: reports progress while decoding.
        strict: raise if a file cannot be read for a transient reason, instead of listing it as unreadable.

    Raises:
        DataError: the folder is not a usable data set, or cannot be read.
    """
    scanned = scan(root)
    patients = patient_names(root, (image.name for image in scanned.images))
    images, failures = read_facts([root / image.name for image in scanned.images], advance, strict=strict)
    catalogue = without(scanned, failures)
    listing = _listing(catalogue)
    test = listing.test
    twins, nearest, neighbours = _compare(images, listing)
    alike, mirrored = twins.groups["alike"], twins.groups["mirrored"]
    paths = [image.name for image in catalogue.images]
    related = relate(paths, images.thumbnails, patients, alike=alike, mirrored=mirrored)
    has_twin, has_patient = related.across(test, ~test)
    leaks = {rule: share_group(twin, test, ~test) for rule, twin in twins.groups.items()}
    groups, seen = related.observations(test), has_twin | has_patient
    shown = _shown(twins, listing.parts)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "name": legible(root.resolve().name),
        "classes": listing.classes,
        "parts": list(catalogue.parts),
        "counts": _counts(listing),
        "files": _files(scanned, failures, images, listing),
        "dimensions": dimensions(images.sizes, listing.parts),
        "resizing": resizing(images.sizes),
        "aspects": aspects(images.sizes, listing.parts),
        "twins": _twin_counts(twins, leaks, listing),
        "patients": {**patient_counts(related.patients), "leaked": int(has_patient.sum())},
        "leak": _leaks(leaks, listing),
        "conflicts": _conflicts(twins, listing),
        "pairs": [_described(pair, listing) for pair in shown],
        "nearest": nearest,
        "looks": _looks(images, listing),
        "origin": origin(statistics(images), listing.labels, test, seen, groups, listing.classes),
        "floor": floor(listing.labels, test, seen, neighbours) if test.any() else {},
    }
    facts["summary"] = summary(facts)
    pairs = tuple((pair.first, pair.second) for pair in shown)
    return Audit(facts=facts, catalogue=catalogue, squashed=images.fine, shown=pairs)


def _listing(catalogue: Catalogue) -> _Listing:
    parts = np.array([image.part for image in catalogue.images])
    return _Listing(
        names=[legible(image.name) for image in catalogue.images],
        classes=[legible(name) for name in catalogue.classes],
        labels=np.array([image.label for image in catalogue.images]),
        parts=parts,
        test=parts == "test",
    )


def _compare(images: ImageFacts, listing: _Listing) -> tuple[Twins, dict[str, Any], Ints]:
    """The twins, the nearest similarities, and the class of each test image's nearest neighbour."""
    # Run side by side: both use threads, but each has stretches in which only one is busy. The BLAS limit is
    # set around both, because each sets it too and restores the value that it found.
    with one_thread(), ThreadPoolExecutor(1) as background:
        nearest = background.submit(
            nearness, images.thumbnails, listing.labels, listing.test, listing.classes
        )
        return all_twins(images), *nearest.result()


def _counts(listing: _Listing) -> dict[str, dict[str, int]]:
    parts = dict.fromkeys(listing.parts.tolist())
    return {part: by_class(listing.labels[listing.parts == part], listing.classes) for part in parts}


def _files(
    scanned: Catalogue, failures: Mapping[int, str], images: ImageFacts, listing: _Listing
) -> dict[str, Any]:
    """The unreadable, left-out and odd files by kind: how many, and up to five names."""
    odd = [
        LeftOut(name=scanned.images[place].name, reason=kind)
        for place, kinds in zip(images.files, images.odd, strict=True)
        for kind in kinds
    ]
    contents = np.array(images.contents)
    return {
        "readable": len(images.files),
        "distinct": len(set(images.contents)),
        "both_sides": len(np.intersect1d(contents[listing.test], contents[~listing.test])),
        "unreadable": by_reason(unreadable(scanned, failures)),
        "left_out": by_reason(scanned.left_out),
        "odd": by_reason(odd),
    }


def _twin_counts(twins: Twins, leaks: Mapping[str, Flags], listing: _Listing) -> dict[str, Any]:
    """Pairs by kind, and by rule the number of groups, of images in them, of leaks and of conflicts."""
    parts = np.unique(listing.parts, return_inverse=True)[1]
    by_rule = {
        rule: {
            **group_counts(groups),
            "across": len(of_two_kinds(groups, parts)),
            "leaked": int(leaks[rule].sum()),
            "conflicts": len(of_two_kinds(groups, listing.labels)),
        }
        for rule, groups in twins.groups.items()
    }
    return {"pairs": {kind: len(pairs.first) for kind, pairs in twins.pairs.items()}, **by_rule}


def _leaks(leaks: Mapping[str, Flags], listing: _Listing) -> dict[str, dict[str, int]]:
    """By class, the number of `test` images, and by rule of those with a twin in the other parts."""
    images = {"test": listing.test, **leaks}
    return {
        name: {kind: int((flags & (listing.labels == number)).sum()) for kind, flags in images.items()}
        for number, name in enumerate(listing.classes)
    }


def _conflicts(twins: Twins, listing: _Listing) -> list[dict[str, Any]]:
    """The first groups of twins with more than one label: up to four names of each, and the classes."""
    groups, labels = twins.groups["any"], listing.labels
    conflicts = []
    for group in of_two_kinds(groups, labels)[:LISTED]:
        members = np.flatnonzero(groups == group)
        # One image of each class comes first, so that the names show the conflict.
        _, one_each = np.unique(labels[members], return_index=True)
        listed = [*members[one_each], *np.delete(members, one_each)][:4]
        conflicts.append(
            {
                "names": [listing.names[i] for i in listed],
                "classes": [listing.classes[label] for label in np.unique(labels[members])],
                "n": len(members),
            }
        )
    return conflicts


def _shown(twins: Twins, parts: Names) -> list[_Pair]:
    """A few pairs of each kind, one per group: pairs across parts first, then the least similar."""
    shown = []
    for kind, pairs in twins.pairs.items():
        within = parts[pairs.first] == parts[pairs.second]
        order = np.lexsort((pairs.second, pairs.first, pairs.similarity, within))
        _, once = np.unique(twins.groups["any"][pairs.first[order]], return_index=True)
        shown += [
            _Pair(kind, int(pairs.first[i]), int(pairs.second[i]), float(pairs.similarity[i]))
            for i in order[np.sort(once)[:SHOWN]]
        ]
    return shown


def _described(pair: _Pair, listing: _Listing) -> dict[str, Any]:
    both = [pair.first, pair.second]
    across = listing.parts[pair.first] != listing.parts[pair.second]
    return {
        "kind": pair.kind,
        "first": listing.names[pair.first],
        "second": listing.names[pair.second],
        "similarity": round(pair.similarity, 4),
        "across": bool(across),
        "classes": [listing.classes[label] for label in listing.labels[both]],
    }


def _looks(images: ImageFacts, listing: _Listing) -> dict[str, Any]:
    """By part and class: quartiles of each statistic, and the mean share of pixels in 64 bins of grey."""
    by_image = statistics(images)
    shares = images.histograms.reshape(-1, 64, 4).sum(2) / images.histograms.sum(1, keepdims=True)
    quartiles: dict[str, Any] = {"dark_below": DARK}
    for part in dict.fromkeys(listing.parts.tolist()):
        quartiles[part] = {}
        for number, name in enumerate(listing.classes):
            own = (listing.parts == part) & (listing.labels == number)
            quartiles[part][name] = {
                statistic: np.quantile(values[own], (0.25, 0.5, 0.75)).round(4).tolist()
                for statistic, values in by_image.items()
            } | {"greys": shares[own].mean(0).round(5).tolist()}
    return quartiles
