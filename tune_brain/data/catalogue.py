"""What lies in an image folder: its classes, its images, the part each belongs to, and what is left out."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tune_brain.data.sources import manifest
from tune_brain.errors import DataError
from tune_brain.text import legible

Part = Literal["train", "validation", "test"]

PARTS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
SUFFIXES = (".jpg", ".jpeg", ".png")
LAYOUTS = "Lay the images out as Training/<class>/ and Testing/<class>/, or as one folder of class folders."


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image file of a class."""

    name: str
    """Path below the root, with forward slashes."""
    label: int
    """Place of its class in `Catalogue.classes`."""
    part: Part


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file or folder that the catalogue passes over, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The images of a folder, before any of them is opened."""

    root: Path
    classes: tuple[str, ...]
    """Names of the class folders, sorted."""
    parts: tuple[Part, ...]
    """The parts that the folder has."""
    images: tuple[Image, ...]
    """By part, class and file name, numbers in names compared as numbers."""
    left_out: tuple[LeftOut, ...]


def scan(root: Path) -> Catalogue:
    """List the images below a folder without opening them.

    Recognised, in any case of the letters: training and test folders (`Training` and `Testing`, `train` and
    `test`), a validation folder beside them (`val`, `valid`, `validation`), or one folder of class folders,
    in which every image is of the part "train". Images stand directly in their class folder. What is hidden,
    of another kind or deeper is left out and named.

    Raises:
        DataError: no such folder, no known layout, parts with unlike classes, fewer than two classes, a class
            without images or with fewer than two to train on.
    """
    if not root.is_dir():
        raise DataError(
            "The data must be a folder of images in class folders",
            found=f"{root} is {'a file' if root.exists() else 'not there'}",
            remedy="Check the path; `tune-brain demo-data DIR` writes a folder to try.",
        )
    left_out: list[LeftOut] = []
    parts = _parts(root, left_out)
    folders = {part: _class_folders(root, folder, left_out) for part, folder in parts.items()}
    classes = _common_classes(root, parts, folders)
    images = tuple(
        Image(name=file.relative_to(root).as_posix(), label=label, part=part)
        for part, named in folders.items()
        for label, name in enumerate(classes)
        for file in _image_files(root, named[name], left_out)
    )
    catalogue = Catalogue(
        root=root, classes=classes, parts=tuple(parts), images=images, left_out=tuple(left_out)
    )
    require_images(catalogue)
    return catalogue


def require_images(catalogue: Catalogue) -> None:
    """Check that each class has an image in every part, and two to train on.

    Raises:
        DataError: a class has too few.
    """
    for part, of in counts(catalogue).items():
        needed = 2 if part == "train" else 1
        short = [
            f"{name} has {n}{_passed_over(catalogue.left_out, part, name)}"
            for name, n in of.items()
            if n < needed
        ]
        if short:
            raise DataError(
                f"Every class needs readable JPEG or PNG images, at least {needed} to {_USE[part]}",
                found=", ".join(short),
                remedy="Add images to the class, or remove its folder from every part.",
            )


def counts(catalogue: Catalogue) -> dict[str, dict[str, int]]:
    """Images by part and class."""
    present = Counter((image.part, image.label) for image in catalogue.images)
    return {
        part: {name: present[part, label] for label, name in enumerate(catalogue.classes)}
        for part in catalogue.parts
    }


def without(catalogue: Catalogue, failures: dict[int, str]) -> Catalogue:
    """The catalogue less the images that could not be decoded, by place; enough of each class must be left.

    Raises:
        DataError: a class has too few.
    """
    left_out = tuple(LeftOut(name=catalogue.images[i].name, reason=why) for i, why in failures.items())
    images = tuple(image for i, image in enumerate(catalogue.images) if i not in failures)
    readable = replace(catalogue, images=images, left_out=left_out + catalogue.left_out)
    require_images(readable)
    return readable


def by_reason(left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """How many were left out for each reason, and the first five names, as text."""
    reasons = dict.fromkeys(left.reason for left in left_out)
    names = {reason: [legible(left.name) for left in left_out if left.reason == reason] for reason in reasons}
    return {reason: {"n": len(every), "names": every[:5]} for reason, every in names.items()}


def named_of(found: Mapping[str, Any]) -> str:
    """The first names of what `by_reason` counts, and dots where there are more."""
    return ", ".join(found["names"]) + (", ..." if found["n"] > len(found["names"]) else "")


def by_class(labels: Iterable[int], classes: Sequence[str]) -> dict[str, int]:
    """How many of some images, given by their labels, each class has."""
    counts = Counter(labels)
    return {name: counts[number] for number, name in enumerate(classes)}


_USE = {"train": "train on", "validation": "validate on", "test": "test on"}


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A sort key that compares the numbers in a name as numbers: image(2) before image(10)."""
    pieces = re.split(r"(\d+)", name)
    return [(int(piece), "") if i % 2 else (-1, piece) for i, piece in enumerate(pieces)], name


def _parts(root: Path, left_out: list[LeftOut]) -> dict[Part, Path]:
    """The folder of each part; one folder of classes is all training."""
    found: dict[Part, Path] = {}
    folders = [entry for entry in _entries(root) if entry.is_dir() and not _hidden(entry)]
    for folder in folders:
        part = PARTS.get(folder.name.lower())
        if part in found:
            raise DataError(
                f"A data set has one {part} folder", found=f"{found[part].name} and {folder.name} in {root}"
            )
        if part:
            found[part] = folder
    if "train" not in found and "test" not in found:
        return {"train": root}
    if missing := {"train", "test"} - set(found):
        raise DataError(
            "A data set in parts has a training and a test folder",
            found=f"no {missing.pop()} folder in {root}, only {_listed(folders)}",
            remedy=f"{LAYOUTS} Given the latter, tune_brain cuts the test part itself.",
        )
    beside = [entry for entry in _entries(root) if entry not in (*found.values(), manifest(root))]
    left_out.extend(LeftOut(name=entry.name, reason=_strange(entry, "beside the parts")) for entry in beside)
    return {part: found[part] for part in ("train", "validation", "test") if part in found}


def _class_folders(root: Path, folder: Path, left_out: list[LeftOut]) -> dict[str, Path]:
    """The class folders of a part by name."""
    folders, ours = {}, manifest(root)
    for entry in _entries(folder):
        if entry.is_dir() and not _hidden(entry):
            folders[entry.name] = entry
        elif entry != ours:
            name = entry.relative_to(root).as_posix()
            left_out.append(LeftOut(name=name, reason=_strange(entry, "beside the class folders")))
    return folders


def _common_classes(
    root: Path, parts: dict[Part, Path], folders: dict[Part, dict[str, Path]]
) -> tuple[str, ...]:
    classes = tuple(sorted(folders["train"]))
    for part, named in folders.items():
        if unlike := set(named) ^ set(classes):
            raise DataError(
                "Every part must have the same class folders",
                found=f"{parts['train'].name}: {', '.join(classes) or 'none'}; "
                f"{parts[part].name}: {', '.join(sorted(named)) or 'none'}",
                remedy=f"Rename, add or remove: {legible(', '.join(sorted(unlike)))}."
                + (" Some differ in how their accents are stored alone." if _seem_alike(unlike) else "")
                if named
                else f"Take {parts[part].name} away, or sort its images into folders of these classes.",
            )
    if len(classes) < 2:
        raise DataError(
            "A data set needs at least two class folders",
            found=f"{', '.join(classes) or 'none'} in {parts['train']}"
            + (f", which holds {_listed(_entries(root))}" if not classes else ""),
            remedy=LAYOUTS,
        )
    return classes


def _seem_alike(names: Collection[str]) -> bool:
    """Whether some of these names are the same to the eye."""
    return len({unicodedata.normalize("NFC", name) for name in names}) < len(names)


def _image_files(root: Path, folder: Path, left_out: list[LeftOut]) -> Iterator[Path]:
    for entry in _entries(folder):
        if entry.is_file() and not _hidden(entry) and entry.suffix.lower() in SUFFIXES:
            yield entry
        else:
            name = entry.relative_to(root).as_posix()
            left_out.append(LeftOut(name=name, reason=_strange(entry, "inside a class folder")))


def _strange(entry: Path, place: str) -> str:
    if entry.is_dir():
        return "hidden folder" if _hidden(entry) else f"folder {place}"
    if _hidden(entry):
        return "hidden file"
    if entry.suffix.lower() in SUFFIXES:
        return f"image {place}" if entry.is_file() else "link to nothing"
    return "not a JPEG or PNG file"


def _hidden(entry: Path) -> bool:
    # Archives made on a Mac unpack into __MACOSX, editors leave __pycache__ and the like.
    return entry.name.startswith((".", "__"))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda entry: natural(entry.name))
    except OSError as error:
        raise DataError("Every folder must be readable", found=f"{folder}: {error.strerror}") from None


def _listed(entries: Sequence[Path]) -> str:
    names = [entry.name for entry in entries]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"


def _passed_over(left_out: Sequence[LeftOut], part: str, name: str) -> str:
    """What was left out of a class in a part, in words."""
    own = [left for left in left_out if _is_of(PurePosixPath(left.name).parent, part, name)]
    return f" ({len(own)} left out, such as {own[0].name}: {own[0].reason})" if own else ""


def _is_of(folder: PurePosixPath, part: str, name: str) -> bool:
    """Whether a folder below the root is that of a class in a part; without parts all is training."""
    return folder.name == name and PARTS.get(folder.parent.name.lower(), "train") == part
