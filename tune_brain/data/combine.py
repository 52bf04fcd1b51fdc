"""Combine several image folders into one without test pictures in training, and record every image's source.

Twins are found across all folders with the rules of an audit, which therefore finds no leak in the new
folder. `sources.csv`, which a search reads, records what became of each image.
"""

import errno
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tune_brain.data.catalogue import NEEDED, Catalogue, scan
from tune_brain.data.decoding import Advance
from tune_brain.data.groups import of_two_kinds, share_group
from tune_brain.data.image_facts import read_facts
from tune_brain.data.patients import patient_names, write_patients
from tune_brain.data.sources import Row, write_sources
from tune_brain.data.spellings import class_names
from tune_brain.data.twins import all_twins
from tune_brain.errors import ConfigError, DataError
from tune_brain.files import making, require_new, writing
from tune_brain.interrupts import interruptible
from tune_brain.text import counted, legible

FOLDERS = {"train": "Training", "validation": "Validation", "test": "Testing"}
NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors with which a file system refuses a hard link: another disk, not permitted, too many, not
supported."""

CONFLICT = "twins with two labels"
LEAK = "twin in a test part"


def combine(
    roots: Sequence[Path],
    to: Path,
    *,
    rules: Mapping[str, str],
    allow_leak: bool = False,
    advance: Advance | None = None,
) -> list[Row]:
    """Combine several image folders into a new one; files are hard links where the disk allows it.

    Each image keeps its part; images of folders without parts go to training. Twins with different labels are
    left out of every part, since none of their labels can be trusted. Training and validation images with a
    twin in any test part are left out as well. Patients that a folder's `patients.csv` names are named in the
    new folder's.

    Args:
        roots: at least two image folders, see `tune_brain.data.catalogue.scan`.
        to: new folder; it appears only once it is complete.
        rules: new names of classes by their names in the folders, see `class_names`.
        allow_leak: keep images that have a twin in a test part, and mark them in `sources.csv`.
        advance: reports progress while decoding.

    Returns:
        A row for each image, readable or not, as in `sources.csv`.

    Raises:
        ConfigError: there are too few folders, or `to` is not empty or lies inside one of them.
        DataError: a folder is not a usable data set, a class has no rule, too few images are left, or the new
            folder cannot be written.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP.
    """
    to = to.resolve()
    _check_places(roots, to)
    catalogues = dict(zip(_source_names(roots), map(scan, roots), strict=True))
    patients = {
        name: patient_names(catalogue.root, (image.name for image in catalogue.images))
        for name, catalogue in catalogues.items()
    }
    names = class_names({name: catalogue.classes for name, catalogue in catalogues.items()}, rules)
    with interruptible("Interrupted; nothing of the new folder is kept"):
        rows = _decide(catalogues, names, allow_leak, advance)
        _require_enough(rows)
        with writing(to, DataError, "Free some disk space, or name another --to."):
            _make(catalogues, patients, rows, to)
    return rows


def describe_rows(rows: Sequence[Row]) -> list[str]:
    """Describe in lines how many images of each source were kept, and how many were left out and why."""
    lines = []
    for source in dict.fromkeys(row.source for row in rows):
        own = [row for row in rows if row.source == source]
        kept = Counter(row.part for row in own if row.file)
        left_out = Counter((row.part, row.left_out) for row in own if row.left_out)
        parts = ", ".join(f"{part} {kept[part]:,}" for part in FOLDERS if kept[part]) or "none"
        lines.append(f"{legible(source)}: {sum(kept.values()):,} of {len(own):,} images kept: {parts}")
        lines += [f"  left out of {part}, {reason}: {n:,}" for (part, reason), n in sorted(left_out.items())]
    sources = Counter(group for group, _ in {(row.group, row.source) for row in rows if row.group >= 0})
    shared = sum(n > 1 for n in sources.values())
    lines.append(f"{counted(shared, 'picture is', 'pictures are')} in more than one source")
    if leaked := sum(row.twin_in_test == "yes" for row in rows):
        images = counted(leaked, "training or validation image has", "training or validation images have")
        lines.append(f"{images} a twin in the test part: every score will say so")
    return lines


def _check_places(roots: Sequence[Path], to: Path) -> None:
    places = [root.resolve() for root in roots]
    if len(set(places)) < max(2, len(roots)):
        raise ConfigError("combine needs two or more different folders", found=", ".join(map(str, roots)))
    require_new(to, "combine")
    if any(to.is_relative_to(place) for place in places):
        raise ConfigError("combine does not write into the folders that it reads", found=to)


def _source_names(roots: Sequence[Path]) -> list[str]:
    """The folders' own names, numbered where two are equal.

    Without leading dots and underscores: they begin the names of files, which would be hidden by them.
    """
    names: list[str] = []
    for root in roots:
        own = name = root.resolve().name.lstrip("._") or "images"
        number = 1
        while name in names:
            number += 1
            name = f"{own}-{number}"
        names.append(name)
    return names


def _decide(
    catalogues: Mapping[str, Catalogue],
    names: Mapping[str, Mapping[str, str]],
    allow_leak: bool,
    advance: Advance | None,
) -> list[Row]:
    """Decide what becomes of each image; a row for each, in the order of the sources and their images."""
    every = [(source, image) for source, catalogue in catalogues.items() for image in catalogue.images]
    files = [catalogues[source].root / image.name for source, image in every]
    facts, failures = read_facts(files, advance, strict=True)
    groups = np.full(len(every), -1)
    groups[facts.files] = all_twins(facts).groups["any"]
    labels = [names[source][catalogues[source].classes[image.label]] for source, image in every]
    parts = np.array([image.part for _, image in every])
    readable = groups >= 0
    numbers = np.unique(labels, return_inverse=True)[1]
    conflict = np.isin(groups, of_two_kinds(groups[readable], numbers[readable]))
    leaks = share_group(groups, parts != "test", (parts == "test") & readable)
    # If no source has a test part, the result is one folder of class folders, from which a search splits one
    # off.
    folders = FOLDERS if (parts == "test").any() else {"train": "."}
    taken: set[str] = set()
    rows = []
    for index, (source, image) in enumerate(every):
        reason = ""
        if index in failures:
            reason = "unreadable"
        elif conflict[index]:
            reason = CONFLICT
        elif leaks[index] and not allow_leak:
            reason = LEAK
        folder = PurePosixPath(folders[image.part], labels[index])
        row = Row(
            file="" if reason else _free_name(folder, source, image.name, taken),
            part=image.part,
            label=labels[index],
            source=source,
            original=image.name,
            group=int(groups[index]),
            left_out=reason,
            twin_in_test="yes" if leaks[index] and not reason else "",
        )
        rows.append(row)
    return rows


def _require_enough(rows: Sequence[Row]) -> None:
    """Check that every class keeps at least one image in every part, and two in training."""
    every = Counter((row.part, row.label) for row in rows)
    kept = Counter((row.part, row.label) for row in rows if row.file)
    parts, labels = (list(dict.fromkeys(names)) for names in zip(*every, strict=True))
    short = [
        f"{kept[part, label]} of {every[part, label]} {part} images of {label}"
        for part in parts
        for label in labels
        if kept[part, label] < NEEDED[part]
    ]
    if short:
        reasons = Counter(row.left_out for row in rows if row.left_out)
        left_out = ", ".join(f"{reason} ({n:,})" for reason, n in reasons.items()) or "nothing"
        raise DataError(
            "Every class needs images in every part after leaving out twins, at least 2 to train on",
            found=", ".join(short),
            remedy=f"Left out: {left_out}. Combine other folders, or keep test twins with --allow-leak.",
        )


def _make(
    catalogues: Mapping[str, Catalogue],
    patients: Mapping[str, Mapping[str, str]],
    rows: Sequence[Row],
    to: Path,
) -> None:
    patients_by_file = dict[str, str]()
    with making(to) as made:
        for row in rows:
            if row.file:
                _place(catalogues[row.source].root / row.original, made / row.file)
                if patient := patients[row.source].get(row.original):
                    # The same name in two sources need not be the same patient.
                    patients_by_file[row.file] = f"{row.source}/{patient}"
        write_sources(made, rows)
        if patients_by_file:
            write_patients(made, patients_by_file)
        scan(made)


def _free_name(folder: PurePosixPath, source: str, original: str, taken: set[str]) -> str:
    """A free file name with the image's source, and with its original class where two classes were merged."""
    path = PurePosixPath(original)
    name = f"{folder}/{source}-{path.name}"
    number = 1
    while name in taken:
        suffix = f"-{number}" if number > 1 else ""
        name = f"{folder}/{source}-{path.parent.name}{suffix}-{path.name}"
        number += 1
    taken.add(name)
    return name


def _place(original: Path, new: Path) -> None:
    """Hard-link a file, or copy it where the disk cannot; an existing file is never overwritten."""
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(original.resolve(), new)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        with original.open("rb") as old, new.open("xb") as copy:
            shutil.copyfileobj(old, copy)
        shutil.copystat(original, new)
