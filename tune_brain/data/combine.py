"""Several image folders as one, with the source of every image and no test picture in training.

Twins are found across all folders by every rule of an audit, which therefore finds no leak in the new folder.
What was made of each image stands in `sources.csv`, which a search reads again.
"""

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tune_brain.data.catalogue import Catalogue, scan
from tune_brain.data.destination import making, require_new
from tune_brain.data.groups import of_two_kinds
from tune_brain.data.image_facts import read_facts
from tune_brain.data.sources import Row, write
from tune_brain.data.spellings import class_names
from tune_brain.data.twins import all_twins
from tune_brain.errors import ConfigError, DataError
from tune_brain.interrupts import interruptible
from tune_brain.text import counted, legible

FOLDERS = {"train": "Training", "validation": "Validation", "test": "Testing"}
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a disk answers that makes no hard link: another one, not allowed, too many, not known."""

CONFLICT = "twins with two labels"
LEAK = "twin in a test part"


def combine(
    roots: Sequence[Path],
    to: Path,
    *,
    rules: Mapping[str, str],
    allow_leak: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Write one image folder from several; files are hard links where the disk allows it.

    Each image keeps its part; folders without parts give to training. Images whose twins have another
    label are left out of every part, since none of the labels can be believed. Images of training and
    validation with a twin in any test part are left out as well.

    Args:
        roots: at least two image folders, see `tune_brain.data.catalogue.scan`.
        to: new folder; it is there when it is whole, and not before.
        rules: new names of classes by their names in the folders, see `class_names`.
        allow_leak: keep images that have a twin in a test part, and write so.
        progress: called while decoding with the number of files done and of all.

    Returns:
        A row for each image that can be decoded or not, as in `sources.csv`.

    Raises:
        ConfigError: too few folders, or `to` is taken or inside one of them.
        DataError: a folder cannot be searched, a class has no rule, too little is left, no room.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP.
    """
    to = to.resolve()
    _check_places(roots, to)
    catalogues = dict(zip(_source_names(roots), map(scan, roots), strict=True))
    names = class_names({name: catalogue.classes for name, catalogue in catalogues.items()}, rules)
    with interruptible("Interrupted; nothing of the new folder is kept"):
        rows = _decided(catalogues, names, allow_leak, progress)
        _require_enough(rows)
        try:
            _make(catalogues, rows, to)
        except OSError as error:
            raise DataError(
                "The combined folder must be writable",
                found=f"{to}: {error.strerror}",
                remedy="Make room, or name another --to.",
            ) from None
    return rows


def told(rows: Sequence[Row]) -> list[str]:
    """What was made of the images, in lines: by source how many are left, and what was left out."""
    lines = []
    for source in dict.fromkeys(row.source for row in rows):
        own = [row for row in rows if row.source == source]
        kept = Counter(row.part for row in own if row.file)
        gone = Counter((row.part, row.left_out) for row in own if row.left_out)
        parts = ", ".join(f"{part} {kept[part]:,}" for part in FOLDERS if kept[part]) or "none"
        lines.append(f"{legible(source)}: {sum(kept.values()):,} of {len(own):,} images kept: {parts}")
        lines += [f"  left out of {part}, {why}: {n:,}" for (part, why), n in sorted(gone.items())]
    across = Counter(group for group, _ in {(row.group, row.source) for row in rows if row.group >= 0})
    both = sum(n > 1 for n in across.values())
    lines.append(f"{counted(both, 'picture stands', 'pictures stand')} in more than one source")
    if leaked := sum(row.twin_in_test == "yes" for row in rows):
        told = counted(leaked, "image for training has", "images for training have")
        lines.append(f"{told} a twin in the test part: every score will say so")
    return lines


def _check_places(roots: Sequence[Path], to: Path) -> None:
    places = [root.resolve() for root in roots]
    if len(set(places)) < max(2, len(roots)):
        raise ConfigError("combine takes two or more different folders", found=", ".join(map(str, roots)))
    require_new(to, "A combination")
    if any(to.is_relative_to(place) for place in places):
        raise ConfigError("combine writes nothing into the folders it reads", found=to)


def _source_names(roots: Sequence[Path]) -> list[str]:
    """The folders' own names, numbered where two are alike."""
    names: list[str] = []
    for root in roots:
        own = name = root.resolve().name
        number = 1
        while name in names:
            number += 1
            name = f"{own}-{number}"
        names.append(name)
    return names


def _decided(
    catalogues: Mapping[str, Catalogue],
    names: Mapping[str, Mapping[str, str]],
    allow_leak: bool,
    progress: Callable[[int, int], None] | None,
) -> list[Row]:
    """A row for each image of each source, in their order."""
    every = [(source, image) for source, catalogue in catalogues.items() for image in catalogue.images]
    files = [catalogues[source].root / image.name for source, image in every]
    looked, failures = read_facts(files, progress, strict=True)
    groups = np.full(len(every), -1)
    groups[looked.files] = all_twins(looked).groups["any"]
    labels = [names[source][catalogues[source].classes[image.label]] for source, image in every]
    parts = np.array([image.part for _, image in every])
    readable = groups >= 0
    numbers = np.unique(labels, return_inverse=True)[1]
    conflict = np.isin(groups, of_two_kinds(groups[readable], numbers[readable]))
    leaks = (parts != "test") & np.isin(groups, groups[(parts == "test") & readable])
    # Where nobody has a test part, a search cuts one from a folder of class folders.
    folders = FOLDERS if (parts == "test").any() else {"train": "."}
    taken: set[str] = set()
    rows = []
    for place, (source, image) in enumerate(every):
        why = "unreadable" if place in failures else CONFLICT if conflict[place] else ""
        if not why and leaks[place] and not allow_leak:
            why = LEAK
        row = Row(
            file=""
            if why
            else _free(PurePosixPath(folders[image.part], labels[place]), source, image.name, taken),
            part=image.part,
            label=labels[place],
            source=source,
            original=image.name,
            group=int(groups[place]),
            left_out=why,
            twin_in_test="yes" if leaks[place] and not why else "",
        )
        rows.append(row)
    return rows


def _require_enough(rows: Sequence[Row]) -> None:
    """Check that every class keeps images in every part, two of them to train on."""
    every, kept = (
        Counter((row.part, row.label) for row in some) for some in (rows, [row for row in rows if row.file])
    )
    parts, labels = (list(dict.fromkeys(names)) for names in zip(*every, strict=True))
    short = [
        f"{kept[part, label]} of {every[part, label]} {part} images of {label}"
        for part in parts
        for label in labels
        if kept[part, label] < (2 if part == "train" else 1)
    ]
    if short:
        reasons = Counter(row.left_out for row in rows if row.left_out)
        why = ", ".join(f"{reason} ({n:,})" for reason, n in reasons.items()) or "nothing"
        raise DataError(
            "Every class needs images in every part once twins are left out, at least 2 to train on",
            found=", ".join(short),
            remedy=f"Left out: {why}. Combine other folders, or keep twins of test images: --allow-leak.",
        )


def _make(catalogues: Mapping[str, Catalogue], rows: Sequence[Row], to: Path) -> None:
    with making(to) as made:
        for row in rows:
            if row.file:
                _place(catalogues[row.source].root / row.original, made / row.file)
        write(made, rows)
        scan(made)


def _free(folder: PurePosixPath, source: str, original: str, taken: set[str]) -> str:
    """A name that tells the source, and the class it had where two classes became one."""
    path = PurePosixPath(original)
    name = f"{folder}/{source}-{path.name}"
    number = 1
    while name in taken:
        same = f"-{number}" if number > 1 else ""
        name = f"{folder}/{source}-{path.parent.name}{same}-{path.name}"
        number += 1
    taken.add(name)
    return name


def _place(original: Path, new: Path) -> None:
    """Link a file, or copy it where the disk knows no such link; what stands there is never written to."""
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(original.resolve(), new)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        with original.open("rb") as old, new.open("xb") as copy:
            shutil.copyfileobj(old, copy)
        shutil.copystat(original, new)
