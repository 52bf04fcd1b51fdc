"""Hashes that identify a prepared data set in the records of runs."""

import hashlib
import os
from collections.abc import Iterable, Sequence

from tune_brain.array_types import Ints
from tune_brain.data.catalogue import Catalogue


def digests(
    catalogue: Catalogue, contents: Sequence[str], parts: Sequence[str], test_groups: Ints, patients: Ints
) -> dict[str, str]:
    """Identities of a prepared data set.

    Args:
        catalogue: its N images.
        contents: [N], hash of each file.
        parts: [N], part of each image after the splits, or "dropped".
        test_groups: [T], groups of the T test images.
        patients: [N], number of each image's patient, -1 if unknown.

    Returns:
        `digest`: content, class and original part of every image, whatever its name; `cut_digest`: the same
        with the parts after the splits; `test_digest`: contents of the test images; `order_digest`: what file
        names affect in trials and intervals, which is the order of the images and the groups of the test, and
        known patients.
    """
    given_parts = [image.part for image in catalogue.images]
    classes = [catalogue.classes[image.label] for image in catalogue.images]
    test = [content for content, part in zip(contents, parts, strict=True) if part == "test"]
    order = "\n".join(f"{content} {part}" for content, part in zip(contents, parts, strict=True))
    known = patients.tobytes() if (patients >= 0).any() else b""
    return {
        "digest": _of_any_order(map(" ".join, zip(contents, given_parts, classes, strict=True))),
        "cut_digest": _of_any_order(map(" ".join, zip(contents, parts, classes, strict=True))),
        "test_digest": _of_any_order(test),
        "order_digest": hashlib.sha256(order.encode() + test_groups.tobytes() + known).hexdigest(),
    }


def _of_any_order(entries: Iterable[str]) -> str:
    return hashlib.sha256(os.fsencode("\n".join(sorted(entries)))).hexdigest()
