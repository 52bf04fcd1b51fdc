"""Turn an image folder into the arrays of a search: training and validation, and a sealed test part.

Nothing here reads the sealed part back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.array_types import Flags, Ints, Names
from tune_brain.data.arrays import Development, Images
from tune_brain.data.cache import Decoded, cache_key, cache_root, decode, is_whole, store
from tune_brain.data.catalogue import Catalogue, by_class, scan, without
from tune_brain.data.decoding import Advance
from tune_brain.data.digests import digests
from tune_brain.data.groups import group_counts, join
from tune_brain.data.left_out import by_reason
from tune_brain.data.patients import patient_counts, patient_names
from tune_brain.data.related import Related, relate
from tune_brain.data.sources import provenance
from tune_brain.data.split import cut
from tune_brain.data.twins import twin_groups
from tune_brain.errors import DataError
from tune_brain.files import read_json
from tune_brain.seeds import derive
from tune_brain.text import legible

FORMAT = 13
FOLDERS = {"train": "train", "validation": "validation", "test": "sealed"}
"""Folder of each part."""
VALIDATION_SHARE = 0.15
TEST_SHARE = 0.2
UNEVEN = 0.5, 1.5
"""A class is split unevenly if the held-out share of its images is below or above these multiples of what was
asked for: it then has too few groups of related images to choose from."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A decoded and split data set on disk."""

    folder: Path
    classes: tuple[str, ...]
    summary: dict[str, Any]
    """Description of the data set as plain JSON: digests, counts, official, unseen, left_out, twins,
    patients, dropped, uneven, parted, classes; for a combined folder also sources and allowed_leak."""

    def development(self) -> Development:
        """Training and validation images, memory-mapped."""
        return Development(
            classes=self.classes,
            train=load(self.folder / "train"),
            validation=load(self.folder / "validation"),
        )

    @property
    def sealed(self) -> Path:
        """Folder of the test part, with pixels, labels, thumbnails, unseen, groups (.npy) and names.json."""
        return self.folder / "sealed"


def prepare(root: Path, *, image_size: int, seed: int, advance: Advance | None = None) -> Prepared:
    """Scan, decode, group and split an image folder, or reuse the cached result of an earlier call.

    Unless the folder has a validation part, 15 % of each training class become validation, split by groups of
    twins and neighbouring files, or of patients where the folder's `patients.csv` names them. Without a test
    part, 20 % of each class are split off the same way first. Training images that are twins of a validation
    image, including mirrored ones, or of its patient, are dropped. A given test part is kept as it is; those
    of its images without a twin and without their patient in the other parts are marked unseen.

    Args:
        root: the image folder, see `tune_brain.data.catalogue.scan`.
        image_size: side of the prepared images, in pixels.
        seed: determines the splits.
        advance: reports progress while decoding.

    Raises:
        DataError: the folder is not a usable data set, or the cache cannot be written.
    """
    catalogue = scan(root)
    folder = cache_root() / cache_key(catalogue, f"{FORMAT} {image_size} {seed}")
    if not is_whole(folder):
        files = [root / image.name for image in catalogue.images]
        patients = patient_names(root, (image.name for image in catalogue.images))
        try:
            decoded, failures = decode(files, image_size, advance)
            catalogue = without(catalogue, failures)
            arrays, values = _contents(catalogue, decoded, patients, seed)
        except MemoryError:
            raise DataError(
                "The images do not fit into this machine's memory twice, as preparing them requires",
                found=f"{len(files):,} images of {image_size} x {image_size} pixels",
                remedy="Choose a smaller --image-size.",
            ) from None
        store(folder, arrays, {**values, "summary": values["summary"] | provenance(root)})
    summary = read_json(folder / "summary.json")
    return Prepared(folder=folder, classes=tuple(summary["classes"]), summary=summary)


def _contents(
    catalogue: Catalogue, decoded: Decoded, patients: Mapping[str, str], seed: int
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the JSON values to store, by path below the folder, without suffix."""
    names = [image.name for image in catalogue.images]
    labels = np.array([image.label for image in catalogue.images])
    alike, mirrored = twin_groups(decoded.digests, decoded.thumbnails)
    related = relate(names, decoded.thumbnails, patients, alike=alike, mirrored=mirrored)
    parts, uneven = _parts(catalogue, related, seed)
    test = parts == "test"
    # Dropped images do not count: nothing is trained on them.
    has_twin, has_patient = related.across(test, np.isin(parts, ("train", "validation")))
    unseen, groups = ~(has_twin | has_patient)[test], related.observations(test)[test]
    arrays: dict[str, NDArray[Any]] = {"sealed/unseen": unseen, "sealed/groups": groups}
    for part, folder in FOLDERS.items():
        chosen = parts == part
        arrays[f"{folder}/pixels"] = decoded.pixels[chosen]
        arrays[f"{folder}/labels"] = labels[chosen]
        arrays[f"{folder}/thumbnails"] = decoded.thumbnails[chosen]
    values = {
        "sealed/names": [name for name, sealed in zip(names, test, strict=True) if sealed],
        "summary": digests(catalogue, decoded.digests, parts.tolist(), groups, related.patients)
        | _counts(catalogue, labels, parts, unseen)
        | {
            "left_out": by_reason(catalogue.left_out),
            "twins": {**group_counts(alike), "across": int(has_twin.sum())},
            "patients": {
                **patient_counts(related.patients),
                "unlisted": int((related.patients < 0).sum()),
                "across": int(has_patient.sum()),
            },
            "dropped": int((parts == "dropped").sum()),
            "uneven": uneven,
            "parted": _parted(catalogue, labels, related),
        },
    }
    return arrays, values


def _parts(catalogue: Catalogue, related: Related, seed: int) -> tuple[Names, list[dict[str, Any]]]:
    """The part of each image, or "dropped": a training image related to a validation or split-off test image.

    The splits do not keep mirrored twins together: linked by them too, the blocks of a set would merge into
    one.

    Returns:
        The parts [N], and the classes that were split unevenly, as plain JSON.
    """
    uneven = list[dict[str, Any]]()
    parts = np.array([image.part for image in catalogue.images], dtype="<U10")
    names = np.array(catalogue.classes)[[image.label for image in catalogue.images]]
    for part, share in (("test", TEST_SHARE), ("validation", VALIDATION_SHARE)):
        if part not in catalogue.parts:
            training = np.flatnonzero(parts == "train")
            groups = join(related.alike[training], related.split_blocks[training])
            held_out = cut(names[training], groups, share, derive(seed, "cut", part))
            parts[training[held_out]] = part
            uneven += _uneven(part, share, names[training], held_out)
        elif part == "test":
            # Training images related to a given test part stay; that makes its images not unseen.
            continue
        has_twin, has_patient = related.across(parts == "train", parts == part)
        parts[has_twin | has_patient] = "dropped"
    if lost := set(catalogue.classes) - set(names[parts == "train"]):
        raise DataError(
            "Every class needs training images that are not in the validation part too",
            found=f"none in {', '.join(sorted(lost))}",
            remedy="Remove the validation folder; tune_brain then splits validation off training itself."
            if "validation" in catalogue.parts
            else "Add images to these classes that are not copies, mirrored or not, of others in them.",
        )
    return parts, uneven


def _uneven(part: str, asked: float, names: Names, held_out: Flags) -> Iterator[dict[str, Any]]:
    """The classes of which a part got far more or less than the share that was asked for."""
    low, high = UNEVEN
    for name in np.unique(names):
        n, of = int(held_out[names == name].sum()), int((names == name).sum())
        if not low * asked <= n / of <= high * asked:
            yield {"part": part, "class": legible(name), "images": n, "of": of, "asked": asked}


def _parted(catalogue: Catalogue, labels: Ints, related: Related) -> list[str]:
    """The classes of which a part was split off in blocks smaller than usual."""
    if {"validation", "test"} <= set(catalogue.parts):
        return []
    training = np.array([image.part == "train" for image in catalogue.images])
    smaller = training & (related.split_blocks != related.blocks)
    return [legible(catalogue.classes[label]) for label in np.unique(labels[smaller])]


def _counts(catalogue: Catalogue, labels: Ints, parts: Names, unseen: Flags) -> dict[str, Any]:
    """The classes, and the number of images of each by part, in the official and in the unseen test."""
    classes = [legible(name) for name in catalogue.classes]
    counts = {part: by_class(labels[parts == part], classes) for part in FOLDERS}
    return {
        "classes": classes,
        "counts": counts,
        "official": counts["test"],
        "unseen": by_class(labels[parts == "test"][unseen], classes),
    }


def load(folder: Path) -> Images:
    """Memory-map the images of a part from the files that `prepare` wrote to its folder."""
    # Viewed as plain arrays, since pickle transfers only those out of band: Ray shares them among the workers
    # of a machine, but would copy memmaps.
    pixels, labels, thumbnails = (
        np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray)
        for name in ("pixels", "labels", "thumbnails")
    )
    return Images(pixels=pixels, labels=labels, thumbnails=thumbnails)
