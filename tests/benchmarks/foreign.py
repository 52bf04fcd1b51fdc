"""How many pictures of something else the check of looks rejects, and how many unseen scans with them.

    python tests/benchmarks/foreign.py [--quick] --data data/nickparvar [--image-size 48]

The looks are fitted on the training images and the threshold is set on validation, as `tune-brain evaluate`
does; no network takes part. Foreign pictures: photographs, textures, drawings and text of scikit-image,
scikit-learn and matplotlib, whole and in six crops each (but for a phantom of a head), and pictures that are
generated: noise, blank, gradients, text, discs, chest phantoms.
"""

import importlib.resources
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import measure
import numpy as np
from PIL import Image, ImageDraw

from tune_brain.data.prepare import prepare
from tune_brain.evaluate.calibration import FALSE_REJECTIONS
from tune_brain.evaluate.sealed import scored_before
from tune_brain.portable.ood import distance, features, fit
from tune_brain.portable.pictures import open_grey, square

FOLDERS = (("skimage", "data"), ("sklearn", "datasets/images"), ("matplotlib", "mpl-data/sample_data"))
HEADS = ("phantom.png",)


def photographs(chance: np.random.Generator) -> Iterator[Image.Image]:
    """What packages bring along, whole and in crops."""
    for package, folder in FOLDERS:
        for path in sorted(Path(str(importlib.resources.files(package) / folder)).iterdir()):
            if path.suffix not in (".png", ".jpg") or path.name in HEADS:
                continue
            image = Image.open(path).convert("L")
            yield image
            width, height = image.size
            for share in chance.uniform(0.4, 0.9, 6):
                side = int(share * min(width, height))
                left, top = chance.integers(0, width - side + 1), chance.integers(0, height - side + 1)
                yield image.crop((left, top, left + side, top + side))


def generated(chance: np.random.Generator, each: int = 20) -> Iterator[Image.Image]:
    """Noise, blank, gradients, text, discs and chest phantoms."""
    y, x = np.mgrid[-1:1:160j, -1:1:160j]
    for _ in range(each):
        yield Image.fromarray(chance.integers(0, 256, (96, 96), dtype=np.uint8))
        yield Image.new("L", (128, 128), int(chance.integers(0, 256)))
        slope = chance.normal() * x + chance.normal() * y
        yield _grey((slope - slope.min()) / np.ptp(slope))
        page = Image.new("L", (200, 260), 255)
        for line in range(10, 250, 14):
            ImageDraw.Draw(page).text((10, line), "".join(chance.choice(list("abcdefgh  "), 28)), fill=0)
        yield page
        round_ = np.hypot(x, y * chance.uniform(0.7, 1.3)) < chance.uniform(0.3, 0.9)
        yield _grey(round_ * chance.uniform(0.3, 1))
        yield _grey(_chest(x, y, chance))


def _chest(x: np.ndarray, y: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Two dark lungs with ribs, a bright spine and heart."""
    image, apart = np.full(x.shape, 0.75), chance.uniform(0.3, 0.45)
    for side in (-1, 1):
        width, height = chance.uniform(0.2, 0.3), chance.uniform(0.5, 0.7)
        image -= 0.5 * np.exp(-(((x - side * apart) / width) ** 4) - ((y + 0.05) / height) ** 4)
    image += 0.15 * np.exp(-((x / 0.1) ** 2)) + 0.06 * np.sin(y * chance.uniform(25, 35) + 6 * x**2)
    image += 0.12 * np.exp(-(((x - 0.15) / 0.25) ** 2) - ((y - 0.3) / 0.25) ** 2)
    return image + chance.normal(0, 0.02, x.shape)


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray((values.clip(0, 1) * 255).astype(np.uint8))


def seen(images: Iterator[Image.Image], size: int) -> np.ndarray:
    """Pictures as a model sees them."""
    pixels = []
    for image in images:
        file = BytesIO()
        image.save(file, "PNG")
        pixels.append(square(open_grey(file.getvalue()), size)[None])
    return np.stack(pixels)


def main() -> None:
    """Fit, count, tell."""
    options = measure.parser(__doc__)
    options.add_argument("--image-size", type=int, default=48)
    asked = options.parse_args()
    chance = np.random.default_rng(0)
    prepared = prepare(asked.data, image_size=asked.image_size, seed=0)
    found, test = prepared.development(), scored_before(prepared)
    reference = fit(features(np.asarray(found.train.pixels)))
    validation = distance(reference, features(np.asarray(found.validation.pixels)))
    max_distance = float(np.quantile(validation, 1 - FALSE_REJECTIONS))
    parts = {
        "validation": np.asarray(found.validation.pixels),
        "official test": np.asarray(test.pixels),
        "unseen test": np.asarray(test.pixels)[test.unseen],
        "photographs, textures, drawings": seen(photographs(chance), asked.image_size),
        "generated": seen(generated(chance), asked.image_size),
    }
    result = {
        "data": asked.data.name,
        "image_size": asked.image_size,
        "max_distance": max_distance,
        "rejected": {
            name: {
                "n": len(pixels),
                "share": round(float((distance(reference, features(pixels)) > max_distance).mean()), 4),
            }
            for name, pixels in parts.items()
        },
    }
    measure.tell(f"foreign-{asked.data.name}", result, quick=asked.quick)


if __name__ == "__main__":
    main()
