"""Images made for tests."""

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


def save(path: Path, image: Image.Image, kind: str = "PNG", **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_bytes(image, kind, **options))
