"""Images made for tests, and the bytes of a folder."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tune_brain.data.demo import draw


def phantom(seed: int) -> Image.Image:
    return draw("glioma", np.random.default_rng(seed)).resize((64, 64))


def as_bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder, by path below it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def save(path: Path, image: Image.Image, kind: str = "PNG", **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_bytes(image, kind, **options))
