"""`patients.csv`: which patient each image of a folder shows, where the owner of the images knows it."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from tune_brain.array_types import Ints
from tune_brain.errors import DataError
from tune_brain.text import legible

PATIENTS = "patients.csv"
"""Lies in the root of an image folder. Columns: `image`, a path below the root, and `patient`, any text."""
COLUMNS = ["image", "patient"]


def patients_file(root: Path) -> Path | None:
    """The `patients.csv` of an image folder, if there is one."""
    path = root / PATIENTS
    return path if path.is_file() else None


def patient_names(root: Path, images: Iterable[str]) -> dict[str, str]:
    """The patients of the images that `patients.csv` lists, by path; empty without the file.

    Args:
        root: the image folder.
        images: paths of its images below it, with forward slashes.

    Raises:
        DataError: the file cannot be read, has other columns, a row without a patient or with another patient
            than an earlier row of the same image, or lists none of the images.
    """
    path = patients_file(root)
    if path is None:
        return {}
    listed = _read(path)
    names = {image: listed[image] for image in images if image in listed}
    if not names:
        raise _unusable(path, f"it lists {legible(next(iter(listed), 'nothing'))}, which is no image here")
    return names


def patient_numbers(names: Mapping[str, str], images: Sequence[str]) -> Ints:
    """[N] a number for each patient, from 0 in the order of N images; -1 where `names` has none."""
    known = [names.get(image) for image in images]
    numbers = {patient: number for number, patient in enumerate(filter(None, dict.fromkeys(known)))}
    return np.array([-1 if patient is None else numbers[patient] for patient in known], np.int64)


def patient_counts(patients: Ints) -> dict[str, int]:
    """How many patients are `known`, and how many `images` show them.

    Args:
        patients: [N], as `patient_numbers` returns them.
    """
    return {"known": len(np.unique(patients[patients >= 0])), "images": int((patients >= 0).sum())}


def patient_groups(patients: Ints, otherwise: Ints) -> Ints:
    """[N] group numbers: images of one patient are a group, those of unknown patients are grouped otherwise.

    Args:
        patients: [N], as `patient_numbers` returns them.
        otherwise: [N] group numbers below N.
    """
    return np.where(patients < 0, otherwise, len(patients) + patients)


def write_patients(root: Path, names: Mapping[str, str]) -> None:
    """Write the patients of images, by path, to the `patients.csv` of a folder."""
    with (root / PATIENTS).open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(names.items())


def _read(path: Path) -> dict[str, str]:
    try:
        # As spreadsheets write it, perhaps with a byte order mark.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            header, *rows = list(csv.reader(file, strict=True)) or [[]]
    except (csv.Error, OSError) as error:
        raise _unusable(path, str(error)) from None
    if header != COLUMNS:
        # Not what it is, which could be a patient's name.
        raise _unusable(path, f"its first line is {'another' if any(header) else 'empty'}")
    names = dict[str, str]()
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(COLUMNS) or not all(map(str.strip, row)):
            raise _unusable(path, f"row {line} does not consist of one image and one patient")
        image, patient = PurePosixPath(row[0].strip()).as_posix(), row[1].strip()
        if names.setdefault(image, patient) != patient:
            raise _unusable(path, f"row {line} names a second patient for {legible(image)}")
    return names


def _unusable(path: Path, found: str) -> DataError:
    return DataError(
        f"{PATIENTS} must have the columns {','.join(COLUMNS)}, and a patient for each image that it lists",
        found=f"{path}: {found}",
        remedy="Give paths below the folder, such as Training/glioma/1.png, or remove the file.",
    )
