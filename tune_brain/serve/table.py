"""Predictions as a table: one line for each picture of each file."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

from tune_brain.bundle.read import Bundle, open_bundle
from tune_brain.data.decoding import content_of
from tune_brain.errors import ImageError, TuneBrainError
from tune_brain.serve.answers import Predictor
from tune_brain.serve.images import Frame, frames
from tune_brain.text import legible

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".dcm", ".nii", ".nii.gz")
"""Of the files of a folder that are looked at; a file that is named itself may have any."""


def predict(folder: Path, named: Sequence[Path], to: Path | None) -> int:
    """Write what a bundle says of files, and of those in folders, to a CSV file or the screen.

    Returns:
        How many files could not be read; each is said on standard error and has no line.

    Raises:
        BundleError: the bundle is damaged.
        ImageError: no image was named.
    """
    bundle = open_bundle(folder)
    files = list(_files(named))
    if not files:
        raise ImageError(
            "predict needs images", found=f"none of {', '.join(SUFFIXES)} in {', '.join(map(str, named))}"
        )
    speaker, failures = Predictor(bundle), 0
    with to.open("w", newline="", encoding="utf-8") if to else nullcontext(sys.stdout) as out:
        table = _writer(out, bundle)
        for file in files:
            try:
                pictures = frames(content_of(file), bundle.about.image_size)
            except (TuneBrainError, OSError) as error:
                failures += 1
                print(f"tune-brain: {legible(str(file))}: {error}", file=sys.stderr)
            else:
                table.writerows(_line(speaker, file, picture) for picture in pictures)
    return failures


def _line(speaker: Predictor, file: Path, frame: Frame) -> dict[str, Any]:
    said = speaker.answer(frame.pixels)
    return {
        "file": legible(str(file)),
        "frame": frame.number,
        "class": said.label,
        "probability": f"{said.probability:.4f}",
        "unsure": "foreign" if said.foreign else "unsure" if said.unsure else "",
        **{f"p_{label}": f"{value:.4f}" for label, value in said.probabilities.items()},
    }


def _writer(out: TextIO, bundle: Bundle) -> "csv.DictWriter[str]":
    fields = [
        "file",
        "frame",
        "class",
        "probability",
        "unsure",
        *(f"p_{one}" for one in bundle.about.classes),
    ]
    table = csv.DictWriter(out, fields, lineterminator="\n")
    table.writeheader()
    return table


def _files(named: Iterable[Path]) -> Iterator[Path]:
    for path in named:
        if path.is_dir():
            shown = (file for file in sorted(path.rglob("*")) if not _hidden(file.relative_to(path)))
            yield from (file for file in shown if file.is_file() and file.name.lower().endswith(SUFFIXES))
        else:
            yield path


def _hidden(below: Path) -> bool:
    """Whether it is what systems and notebooks leave beside images."""
    return any(part.startswith((".", "__")) for part in below.parts)
