"""List an image folder: its classes, its images, the part of each image, and the files that are left out."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from tune_brain.data.left_out import LeftOut
from tune_brain.data.patients import patients_file
from tune_brain.data.sources import sources_file
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
INSIDE = "inside a class folder"
LAYOUTS = "Lay the images out as Training/<class>/ and Testing/<class>/, or as one folder of class folders."
MOVE_UP = (
    "Images in folders inside the class folder are not used: move them up into it, with the folder's name "
    "before their own."
)
NEEDED = {"train": 2, "validation": 1, "test": 1}
"""How many images each class needs at least in a part."""
_USE = {"train": "train on", "validation": "validate on", "test": "test on"}


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image file of a class."""

    name: str
    """Path below the root, with forward slashes."""
    label: int
    """Index of its class in `Catalogue.classes`."""
    part: Part


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The images of a folder, listed without opening them."""

    root: Path
    classes: tuple[str, ...]
    """Names of the class folders, sorted."""
    parts: tuple[Part, ...]
    """The parts that the folder has."""
    images: tuple[Image, ...]
    """Sorted by part, class and file name, with numbers in names compared as numbers."""
    left_out: tuple[LeftOut, ...]


def scan(root: Path) -> Catalogue:
    """List the images below a folder without opening them.

    Recognised layouts, case-insensitive: training and test folders (`Training` and `Testing`, `train` and
    `test`), optionally with a validation folder (`val`, `valid`, `validation`), or one folder of class
    folders, in which every image belongs to the part "train". Images must lie directly in their class folder.
    Hidden files, other file types and deeper folders are left out and listed.

    Raises:
        DataError: there is no such folder, its layout is not recognised, the parts have different classes,
            there are fewer than two classes, or a class has too few images.
    """
    if not root.is_dir():
        raise DataError(
            "The data must be a folder of images in class folders",
            found=f"{root} {'is a file' if root.exists() else 'does not exist'}",
            remedy="Check the path; `tune-brain demo-data DIR` writes a folder of demo images.",
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
    """Check that each class has at least one image in every part, and two in training.

    Raises:
        DataError: a class has too few images.
    """
    for part, by_name in counts(catalogue).items():
        short = {
            name: _left_out_in_class(catalogue.left_out, part, name)
            for name, n in by_name.items()
            if n < NEEDED[part]
        }
        if short:
            nested = any(entry.reason == f"folder {INSIDE}" for own in short.values() for entry in own)
            raise DataError(
                f"Every class needs readable JPEG or PNG images, at least {NEEDED[part]} to {_USE[part]}",
                found=", ".join(f"{name} has {by_name[name]}{_example(own)}" for name, own in short.items()),
                remedy="Add images to the class, or remove its folder from every part."
                + (f"\n{MOVE_UP}" if nested else ""),
            )


def counts(catalogue: Catalogue) -> dict[str, dict[str, int]]:
    """Number of images by part and class."""
    present = Counter((image.part, image.label) for image in catalogue.images)
    return {
        part: {name: present[part, label] for label, name in enumerate(catalogue.classes)}
        for part in catalogue.parts
    }


def unreadable(catalogue: Catalogue, failures: Mapping[int, str]) -> tuple[LeftOut, ...]:
    """The images that could not be decoded, see `without`."""
    return tuple(LeftOut(name=catalogue.images[i].name, reason=reason) for i, reason in failures.items())


def without(catalogue: Catalogue, failures: Mapping[int, str]) -> Catalogue:
    """The catalogue without the images that could not be decoded.

    Args:
        catalogue: all images.
        failures: why images could not be decoded, by their index in `catalogue.images`.

    Raises:
        DataError: a class has too few images left.
    """
    images = tuple(image for i, image in enumerate(catalogue.images) if i not in failures)
    left_out = unreadable(catalogue, failures) + catalogue.left_out
    readable = replace(catalogue, images=images, left_out=left_out)
    require_images(readable)
    return readable


def by_class(labels: Iterable[int], classes: Sequence[str]) -> dict[str, int]:
    """Number of images of each class, given the images' labels."""
    counts = Counter(labels)
    return {name: counts[number] for number, name in enumerate(classes)}


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """A sort key that compares the numbers in a name as numbers: image(2) before image(10)."""
    pieces = re.split(r"(\d+)", name)
    return [(int(piece), "") if i % 2 else (-1, piece) for i, piece in enumerate(pieces)], name


def _parts(root: Path, left_out: list[LeftOut]) -> dict[Part, Path]:
    """The folder of each part; in a single folder of class folders everything is training."""
    by_part: dict[Part, Path] = {}
    folders = [entry for entry in _entries(root) if entry.is_dir() and not _hidden(entry)]
    for folder in folders:
        part = PARTS.get(folder.name.lower())
        if part in by_part:
            raise DataError(
                f"A data set must have only one {part} folder",
                found=f"{by_part[part].name} and {folder.name} in {root}",
            )
        if part:
            by_part[part] = folder
    if "train" not in by_part and "test" not in by_part:
        return {"train": root}
    if missing := {"train", "test"} - set(by_part):
        raise DataError(
            "A data set in parts must have a training and a test folder",
            found=f"no {missing.pop()} folder in {root}, only {_listed(folders)}",
            remedy=f"{LAYOUTS} In the second layout tune_brain splits off a test part itself.",
        )
    used = (*by_part.values(), sources_file(root), patients_file(root))
    left_out += [_left_out(root, entry, "beside the parts") for entry in _entries(root) if entry not in used]
    return {part: by_part[part] for part in ("train", "validation", "test") if part in by_part}


def _class_folders(root: Path, folder: Path, left_out: list[LeftOut]) -> dict[str, Path]:
    """The class folders of a part by name."""
    folders, tables = {}, (sources_file(root), patients_file(root))
    for entry in _entries(folder):
        if entry.is_dir() and not _hidden(entry):
            folders[entry.name] = entry
        elif entry not in tables:
            left_out.append(_left_out(root, entry, "beside the class folders"))
    return folders


def _common_classes(
    root: Path, parts: dict[Part, Path], folders: dict[Part, dict[str, Path]]
) -> tuple[str, ...]:
    classes = tuple(sorted(folders["train"]))
    for part, named in folders.items():
        if different := set(named) ^ set(classes):
            remedy = f"Rename, add or remove: {legible(', '.join(sorted(different)))}."
            if _look_equal(different):
                remedy += " Some differ only in how their accents are encoded."
            if not named:
                remedy = f"Remove {parts[part].name}, or sort its images into folders of these classes."
            raise DataError(
                "Every part must have the same class folders",
                found=f"{parts['train'].name}: {', '.join(classes) or 'none'}; "
                f"{parts[part].name}: {', '.join(sorted(named)) or 'none'}",
                remedy=remedy,
            )
    if len(classes) < 2:
        raise DataError(
            "A data set needs at least two class folders",
            found=f"{', '.join(classes) or 'none'} in {parts['train']}"
            + (f", which holds {_listed(_entries(root))}" if not classes else ""),
            remedy=LAYOUTS,
        )
    return classes


def _look_equal(names: Collection[str]) -> bool:
    """Whether some of these names are displayed identically."""
    return len({unicodedata.normalize("NFC", name) for name in names}) < len(names)


def _image_files(root: Path, folder: Path, left_out: list[LeftOut]) -> Iterator[Path]:
    for entry in _entries(folder):
        if entry.is_file() and not _hidden(entry) and entry.suffix.lower() in SUFFIXES:
            yield entry
        else:
            left_out.append(_left_out(root, entry, INSIDE))


def _left_out(root: Path, entry: Path, place: str) -> LeftOut:
    return LeftOut(name=entry.relative_to(root).as_posix(), reason=_why_not(entry, place))


def _why_not(entry: Path, place: str) -> str:
    """Why an entry at a place is not used."""
    if entry.is_dir():
        return "hidden folder" if _hidden(entry) else f"folder {place}"
    if _hidden(entry):
        return "hidden file"
    if entry.suffix.lower() in SUFFIXES:
        return f"image {place}" if entry.is_file() else "link to nothing"
    return "not a JPEG or PNG file"


def _hidden(entry: Path) -> bool:
    # Archives made on a Mac unpack into __MACOSX; __pycache__ and the like are not data either.
    return entry.name.startswith((".", "__"))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda entry: natural(entry.name))
    except OSError as error:
        raise DataError("Cannot read a folder", found=f"{folder}: {error.strerror}") from None


def _listed(entries: Sequence[Path]) -> str:
    names = [entry.name for entry in entries]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"


def _left_out_in_class(left_out: Sequence[LeftOut], part: str, name: str) -> list[LeftOut]:
    """What was left out of the folder of a class in a part; without parts everything is training."""

    def is_inside(entry: LeftOut) -> bool:
        folder = PurePosixPath(entry.name).parent
        return folder.name == name and PARTS.get(folder.parent.name.lower(), "train") == part

    return [entry for entry in left_out if is_inside(entry)]


def _example(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return ""
    return f" ({len(left_out)} left out, such as {left_out[0].name}: {left_out[0].reason})"
