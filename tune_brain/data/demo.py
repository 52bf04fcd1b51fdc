"""Draw brain-like phantoms from a seed, in a folder with the layout and flaws of real data sets.

They have no anatomical value and teach nothing about tumours; they let every stage run without a data set. A
slice shows a head with scalp, skull and textured brain, off-centre, rotated, unevenly lit and noisy.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tune_brain.array_types import Floats
from tune_brain.errors import DataError
from tune_brain.files import making, require_new, writing
from tune_brain.seeds import derive

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")


def write_demo(folder: Path, *, seed: int = 0, per_class: tuple[int, int] = (60, 20)) -> None:
    """Write phantoms as grey and RGB, JPEG and PNG files of many sizes to Training and Testing.

    Some are twins: exact copies, or resized and saved again, within training and from training in testing. If
    another process wrote the folder meanwhile, its images are kept.

    Args:
        folder: where to write, all or nothing; must be absent or empty.
        seed: determines every pixel.
        per_class: images of each class in Training and in Testing.

    Raises:
        ConfigError: the folder is not empty.
        DataError: the folder cannot be written.
    """
    require_new(folder, "demo-data")
    with writing(folder, DataError):
        try:
            with making(folder) as made:
                _write_parts(made, seed, per_class)
        except OSError:
            if not is_written(folder):
                raise


def is_written(folder: Path) -> bool:
    """Whether a folder holds demo images: both parts, each of which is complete if it exists."""
    return all((folder / part).is_dir() for part in ("Training", "Testing"))


def _write_parts(folder: Path, seed: int, per_class: tuple[int, int]) -> None:
    training, testing = folder / "Training", folder / "Testing"
    for name in CLASSES:
        images, others = (
            [draw(name, np.random.default_rng(derive(seed, part, name, i))) for i in range(n)]
            for part, n in zip(("Training", "Testing"), per_class, strict=True)
        )
        _write_class(training / name, _with_twins(images, images, 7, 15, back=7))
        _write_class(testing / name, _with_twins(others, images, 3, 10, back=0))


def _with_twins(
    images: list[Image.Image], originals: list[Image.Image], first: int, every: int, *, back: int
) -> list[bytes]:
    """The files of a class, in which image `first` and every `every`-th after it are twins of an original.

    Args:
        images: the images of the class.
        originals: images of which the twins are made.
        first: index of the first twin.
        every: step between twins.
        back: a twin at index i is made of original i - back, in turn an exact copy and a resized one.
    """
    files = [_encoded(image, i) for i, image in enumerate(images)]
    for turn, i in enumerate(range(first, len(files), every)):
        source = i - back
        if source < len(originals):
            resized = originals[source].resize([side + 16 for side in originals[source].size])
            files[i] = _encoded(resized, i) if turn % 2 else _encoded(originals[source], source)
    return files


def _encoded(image: Image.Image, index: int) -> bytes:
    """The image as a file; its index determines JPEG or PNG, grey or RGB."""
    file = io.BytesIO()
    mode = "RGB" if index % 2 else "L"
    if index % 5 == 4:
        image.convert(mode).save(file, "PNG")
    else:
        image.convert(mode).save(file, "JPEG", quality=90)
    return file.getvalue()


def _write_class(folder: Path, files: list[bytes]) -> None:
    folder.mkdir(parents=True)
    for number, content in enumerate(files, start=1):
        suffix = "png" if content.startswith(b"\x89PNG") else "jpg"
        (folder / f"{folder.name} ({number}).{suffix}").write_bytes(content)


def draw(name: str, random: np.random.Generator) -> Image.Image:
    """Draw one phantom of a class, grey, 96 to 160 pixels a side."""
    width, height = random.integers(96, 161, size=2)
    size = float(min(width, height))
    y, x = np.mgrid[:height, :width]
    x, y = (x - width / 2) / size * 2, (y - height / 2) / size * 2
    angle, (dx, dy) = random.normal(0, 0.12), random.normal(0, 0.04, size=2)
    zoom = random.uniform(0.82, 0.96)
    u = ((x - dx) * np.cos(angle) + (y - dy) * np.sin(angle)) / zoom / random.uniform(0.8, 0.92)
    v = ((y - dy) * np.cos(angle) - (x - dx) * np.sin(angle)) / zoom
    image = _head(u, v, random)
    if name != "notumor":
        image += {"glioma": _glioma, "meningioma": _meningioma, "pituitary": _pituitary}[name](u, v, random)
    light = 1 + 0.2 * random.uniform(-1, 1) * x + 0.2 * random.uniform(-1, 1) * y
    image = np.clip(image * light, 0, None) ** random.uniform(0.85, 1.2) * random.uniform(0.75, 1.1)
    image += random.normal(0, random.uniform(0.01, 0.035), size=image.shape)
    return Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))


def _head(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """Scalp, skull, brain with grey and white matter, fissure, ventricles and a few vessels."""
    radius = np.hypot(u, v)
    inside = _soft(0.84 - radius, 0.015)
    image = 0.65 * _soft(0.06 - np.abs(radius - 0.96), 0.015)
    matter = 0.4 + 0.05 * np.sin(4 * _texture(u.shape, 10, random)) + 0.03 * _texture(u.shape, 24, random)
    image += inside * (matter - 0.06 * _soft(radius - 0.7, 0.05))
    image -= (
        0.2 * inside * _soft(0.02 - np.abs(u + 0.02 * np.sin(5 * v)), 0.01) * _soft(np.abs(v) - 0.3, 0.05)
    )
    spread, length = random.uniform(0.1, 0.17), random.uniform(0.16, 0.3)
    for side in (-1, 1):
        tilt = u - side * (spread + 0.25 * (v + 0.1))
        image -= 0.3 * _soft(1 - np.hypot(tilt / random.uniform(0.05, 0.09), (v + 0.08) / length), 0.15)
    for _ in range(random.integers(2, 6)):
        cu, cv = random.uniform(-0.55, 0.55, size=2)
        image += 0.25 * inside * _soft(random.uniform(0.02, 0.04) - np.hypot(u - cu, v - cv), 0.01)
    return image


def _glioma(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """An irregular mass inside the brain: a bright ragged rim around a darker core."""
    direction, distance = random.uniform(0, 2 * np.pi), random.uniform(0.28, 0.5)
    du, dv = u - distance * np.cos(direction), v - distance * np.sin(direction)
    angle = np.arctan2(dv, du)
    edge = random.uniform(0.17, 0.27) * np.ones_like(u)
    for waves in range(2, 7):
        edge *= 1 + 0.13 * random.normal() * np.cos(waves * angle + random.uniform(0, 2 * np.pi))
    depth = edge - np.hypot(du, dv)
    mass = _soft(depth, 0.02) * (1 + 0.5 * _texture(u.shape, 20, random))
    return random.uniform(0.25, 0.38) * mass - 0.45 * _soft(depth - 0.1, 0.025)


def _meningioma(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """A round, homogeneous, bright mass on the edge of the brain, above the base."""
    direction, radius = random.uniform(-1.2, np.pi + 1.2), random.uniform(0.11, 0.2)
    offset = 0.86 - radius
    distance = np.hypot(u - offset * np.cos(direction), v + offset * np.sin(direction))
    return random.uniform(0.24, 0.38) * _soft(radius - distance, 0.015)


def _pituitary(u: Floats, v: Floats, random: np.random.Generator) -> Floats:
    """A small mass at the sella, low on the midline."""
    cu, cv = random.normal(0, 0.03), random.uniform(0.5, 0.58)
    distance = np.hypot((u - cu) / random.uniform(0.9, 1.3), v - cv)
    return random.uniform(0.24, 0.38) * _soft(random.uniform(0.09, 0.14) - distance, 0.015)


def _soft(depth: Floats, width: float) -> Floats:
    """A soft step at depth 0, from 0 outside to 1 inside."""
    return 1 / (1 + np.exp(-np.clip(depth / width, -30, 30)))


def _texture(shape: tuple[int, ...], cells: int, random: np.random.Generator) -> Floats:
    """Smooth noise of unit scale, `cells` bumps across."""
    coarse = Image.fromarray(random.normal(size=(cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float64)
