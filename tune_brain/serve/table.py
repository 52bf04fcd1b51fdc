"""Predictions as a CSV table, with one row for each picture of each file."""

import csv
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tune_brain.bundle.read import open_bundle
from tune_brain.data.decoding import content_of
from tune_brain.errors import ImageError, TuneBrainError
from tune_brain.files import replacing
from tune_brain.interrupts import interruptible
from tune_brain.serve.answers import NOTICE, Predictor
from tune_brain.serve.images import Frame, frames
from tune_brain.text import legible

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".dcm", ".nii", ".nii.gz")
"""Files of a folder with another suffix are skipped; a file given by its own path may have any."""


def predict(folder: Path, named: Sequence[Path], to: Path | None) -> int:
    """Write a bundle's predictions for files, and for those in folders, to a CSV file or standard output.

    Cautions go to standard error: the predictions are not for medical use, and some bundles are never sure.

    Returns:
        Number of files that could not be read; each is reported on standard error and has no row.

    Raises:
        BundleError: the bundle is damaged.
        ImageError: no image was given.
    """
    bundle = open_bundle(folder)
    files = list(_files(named))
    if not files:
        raise ImageError(
            "predict needs images", found=f"none of {', '.join(SUFFIXES)} in {', '.join(map(str, named))}"
        )
    print(NOTICE, file=sys.stderr)
    if bundle.about.abstention.never_sure:
        print(bundle.about.abstention.never_sure, file=sys.stderr)
    predictor, failures = Predictor(bundle), 0
    shares = [f"p_{label}" for label in bundle.about.classes]
    with _opened(to) as out:
        fields = ["file", "frame", "class", "probability", "unsure", *shares]
        table = csv.DictWriter(out, fields, lineterminator="\n")
        table.writeheader()
        for file in files:
            try:
                pictures = frames(content_of(file), bundle.about.image_size)
            except (TuneBrainError, OSError) as error:
                failures += 1
                print(f"tune-brain: {legible(str(file))}: {error}", file=sys.stderr)
            else:
                table.writerows(_row(predictor, file, picture) for picture in pictures)
    return failures


def _row(predictor: Predictor, file: Path, picture: Frame) -> dict[str, Any]:
    answer, _ = predictor.answer(picture.pixels)
    return {
        "file": legible(str(file)),
        "frame": picture.number,
        "class": answer.label,
        "probability": f"{answer.probability:.4f}",
        "unsure": "foreign" if answer.foreign else "unsure" if answer.unsure else "",
        **{f"p_{label}": f"{value:.4f}" for label, value in answer.probabilities.items()},
    }


@contextmanager
def _opened(to: Path | None) -> Iterator[TextIO]:
    """The table's target. A file appears once the table is complete, so an interrupt keeps the old one."""
    if to is None:
        yield sys.stdout
    elif to.exists() and not to.is_file():  # a device or a pipe, which cannot be replaced
        with to.open("w", newline="", encoding="utf-8") as out:
            yield out
    else:
        stays = f"Interrupted; {'the table is as it was' if to.exists() else 'no table was written'}"
        with (
            interruptible(stays),
            replacing(to.resolve()) as aside,
            aside.open("w", newline="", encoding="utf-8") as out,
        ):
            if to.exists():
                shutil.copymode(to, aside)
            yield out


def _files(named: Iterable[Path]) -> Iterator[Path]:
    for path in named:
        if path.is_dir():
            visible = (file for file in sorted(path.rglob("*")) if not _hidden(file.relative_to(path)))
            yield from (file for file in visible if file.is_file() and file.name.lower().endswith(SUFFIXES))
        else:
            yield path


def _hidden(below: Path) -> bool:
    """Whether a relative path has a part like .name or __MACOSX, as systems leave beside images."""
    return any(part.startswith((".", "__")) for part in below.parts)
