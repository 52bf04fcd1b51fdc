"""Turn an image folder into the arrays of a search: training and validation, and a sealed test part.

Nothing here reads the sealed part back.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.data.arrays import Development, Images
from tune_brain.data.cache import Decoded, cache_root, decode, is_whole, store
from tune_brain.data.catalogue import Catalogue, by_class, by_reason, scan, without
from tune_brain.data.decoding import Advance
from tune_brain.data.groups import join
from tune_brain.data.patients import in_groups, numbered, patient_names, patients_file
from tune_brain.data.sources import manifest, provenance
from tune_brain.data.split import SPLIT_BLOCKS, cut, in_blocks, series_in_order
from tune_brain.data.twins import twin_groups
from tune_brain.errors import DataError
from tune_brain.files import read_json
from tune_brain.seeds import derive
from tune_brain.text import legible

FORMAT = 13
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
    folder = cache_root() / key(catalogue, f"{FORMAT} {image_size} {seed}")
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


def key(catalogue: Catalogue, purpose: str) -> str:
    """A name in the cache that changes with any file's name, size or modification time, and with the purpose.

    Args:
        catalogue: the images of a folder.
        purpose: what is cached, with all parameters and versions that the result depends on.
    """
    digest = hashlib.sha256(purpose.encode())
    for image in catalogue.images:
        state = (catalogue.root / image.name).stat()
        digest.update(os.fsencode(f"\n{image.name}\0{state.st_size} {state.st_mtime_ns}"))
    for entry in catalogue.left_out:
        digest.update(os.fsencode(f"\n{entry.name}\0{entry.reason}"))
    for table in (manifest(catalogue.root), patients_file(catalogue.root)):
        if table:
            digest.update(table.read_bytes())
    return digest.hexdigest()[:32]


def _contents(
    catalogue: Catalogue, decoded: Decoded, patient_names: Mapping[str, str], seed: int
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the JSON values to store, by path below the folder, without suffix."""
    names, classes = [image.name for image in catalogue.images], tuple(map(legible, catalogue.classes))
    labels = np.array([image.label for image in catalogue.images])
    twins, mirrored = twin_groups(decoded.digests, decoded.thumbnails)
    series = series_in_order(names, decoded.thumbnails)
    patients = numbered(patient_names, names)
    listed = patients >= 0
    # What is known of a patient takes the place of what file names suggest.
    neighbours, whole = (
        in_groups(patients, in_blocks(len(names), series, least)) for least in (SPLIT_BLOCKS, 1)
    )
    is_split = np.array([image.part == "train" for image in catalogue.images])
    is_split &= not {"validation", "test"} <= set(catalogue.parts)
    related = mirrored, in_groups(patients, np.arange(len(names)))
    parts, uneven = _parts(catalogue, twins, related, neighbours, seed)
    test = parts == "test"
    # Dropped images do not count: nothing is trained on them.
    outside = np.isin(parts, ("train", "validation"))
    twinned, treated = (np.isin(group[test], group[outside]) for group in related)
    unseen = ~(twinned | treated)
    arrays: dict[str, NDArray[Any]] = {
        "sealed/unseen": unseen,
        # For confidence intervals: a mirrored twin is not an independent observation either, nor are
        # neighbours that had to be parted.
        "sealed/groups": join(mirrored[test], whole[test]),
    }
    for part, folder in (("train", "train"), ("validation", "validation"), ("test", "sealed")):
        chosen = parts == part
        arrays[f"{folder}/pixels"] = decoded.pixels[chosen]
        arrays[f"{folder}/labels"] = labels[chosen]
        arrays[f"{folder}/thumbnails"] = decoded.thumbnails[chosen]
    group_sizes = np.bincount(twins)
    summary = {
        "digest": _digest(catalogue, decoded, [image.part for image in catalogue.images]),
        "cut_digest": _digest(catalogue, decoded, parts.tolist()),
        "test_digest": _test_digest(decoded, test),
        "order_digest": _order_digest(decoded, parts, arrays["sealed/groups"], patients),
        "classes": list(classes),
        "counts": {
            part: by_class(labels[parts == part], classes) for part in ("train", "validation", "test")
        },
        "official": by_class(labels[test], classes),
        "unseen": by_class(labels[test][unseen], classes),
        "left_out": by_reason(catalogue.left_out),
        "twins": {
            "groups": int((group_sizes > 1).sum()),
            "images": int(group_sizes[group_sizes > 1].sum()),
            "across": int(twinned.sum()),
        },
        "patients": {
            "known": len(np.unique(patients[listed])),
            "images": int(listed.sum()),
            "unlisted": int((~listed).sum()),
            "across": int(treated.sum()),
        },
        "dropped": int((parts == "dropped").sum()),
        "uneven": uneven,
        "parted": [classes[label] for label in np.unique(labels[is_split & (neighbours != whole)])],
    }
    sealed_names = [name for name, sealed in zip(names, test, strict=True) if sealed]
    return arrays, {"sealed/names": sealed_names, "summary": summary}


def _parts(
    catalogue: Catalogue,
    twins: NDArray[np.int64],
    related: tuple[NDArray[np.int64], ...],
    neighbours: NDArray[np.int64],
    seed: int,
) -> tuple[NDArray[np.str_], list[dict[str, Any]]]:
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
            groups = join(twins[training], neighbours[training])
            held_out = cut(names[training], groups, share, derive(seed, "cut", part))
            parts[training[held_out]] = part
            uneven += _uneven(part, share, names[training], held_out)
        elif part == "test":
            continue
        for group in related:
            parts[(parts == "train") & np.isin(group, group[parts == part])] = "dropped"
    if lost := set(catalogue.classes) - set(names[parts == "train"]):
        raise DataError(
            "Every class needs training images that are not in the validation part too",
            found=f"none in {', '.join(sorted(lost))}",
            remedy="Remove the validation folder; tune_brain then splits validation off training itself."
            if "validation" in catalogue.parts
            else "Add images to these classes that are not copies, mirrored or not, of others in them.",
        )
    return parts, uneven


def _uneven(
    part: str, asked: float, names: NDArray[np.str_], held_out: NDArray[np.bool_]
) -> Iterator[dict[str, Any]]:
    """The classes of which a part got far more or less than the share that was asked for."""
    low, high = UNEVEN
    for name in np.unique(names):
        n, of = int(held_out[names == name].sum()), int((names == name).sum())
        if not low * asked <= n / of <= high * asked:
            yield {"part": part, "class": legible(name), "images": n, "of": of, "asked": asked}


def _digest(catalogue: Catalogue, decoded: Decoded, parts: Sequence[str]) -> str:
    """Identity of the data: every image's content, class and part, independent of file names."""
    entries = sorted(
        f"{digest} {part} {catalogue.classes[image.label]}"
        for digest, image, part in zip(decoded.digests, catalogue.images, parts, strict=True)
    )
    return hashlib.sha256(os.fsencode("\n".join(entries))).hexdigest()


def _test_digest(decoded: Decoded, test: NDArray[np.bool_]) -> str:
    """Identity of the test part: the contents of its images, independent of names and of the other parts."""
    contents = sorted(digest for digest, inside in zip(decoded.digests, test, strict=True) if inside)
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()


def _order_digest(
    decoded: Decoded, parts: NDArray[np.str_], groups: NDArray[np.int64], patients: NDArray[np.int64]
) -> str:
    """Identity of what names affect in trials and intervals: order, groups of the test, known patients."""
    order = "\n".join(f"{digest} {part}" for digest, part in zip(decoded.digests, parts, strict=True))
    known = patients.tobytes() if (patients >= 0).any() else b""
    return hashlib.sha256(order.encode() + groups.tobytes() + known).hexdigest()


def load(folder: Path) -> Images:
    """Memory-map the images of a part from the files that `prepare` wrote to its folder."""
    # Viewed as plain arrays, since pickle transfers only those out of band: Ray shares them among the workers
    # of a machine, but would copy memmaps.
    pixels, labels, thumbnails = (
        np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray)
        for name in ("pixels", "labels", "thumbnails")
    )
    return Images(pixels=pixels, labels=labels, thumbnails=thumbnails)
