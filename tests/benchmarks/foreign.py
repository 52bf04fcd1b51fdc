"""The out-of-distribution check: how many pictures that are no MRI it rejects, and how many unseen scans.

    python tests/benchmarks/foreign.py [--quick] --data data/nickparvar [--image-size 48]

The reference is fitted to the training images and the threshold is set on validation, as `tune-brain
evaluate` does; no network takes part. The foreign pictures are photographs, textures, drawings and text from
scikit-image, scikit-learn and matplotlib, whole and in six crops each (except a phantom of a head), and
generated pictures: noise, blanks, gradients, text, discs and chest phantoms.
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


def photographs(rng: np.random.Generator) -> Iterator[Image.Image]:
    """The pictures that come with the packages, whole and in six crops each."""
    for package, folder in FOLDERS:
        for path in sorted(Path(str(importlib.resources.files(package) / folder)).iterdir()):
            if path.suffix not in (".png", ".jpg") or path.name in HEADS:
                continue
            image = Image.open(path).convert("L")
            yield image
            width, height = image.size
            for share in rng.uniform(0.4, 0.9, 6):
                side = int(share * min(width, height))
                left, top = rng.integers(0, width - side + 1), rng.integers(0, height - side + 1)
                yield image.crop((left, top, left + side, top + side))


def generated(rng: np.random.Generator, each: int = 20) -> Iterator[Image.Image]:
    """Noise, blanks, gradients, text, discs and chest phantoms, `each` of every kind."""
    y, x = np.mgrid[-1:1:160j, -1:1:160j]
    for _ in range(each):
        yield Image.fromarray(rng.integers(0, 256, (96, 96), dtype=np.uint8))
        yield Image.new("L", (128, 128), int(rng.integers(0, 256)))
        slope = rng.normal() * x + rng.normal() * y
        yield _grey((slope - slope.min()) / np.ptp(slope))
        page = Image.new("L", (200, 260), 255)
        for line in range(10, 250, 14):
            ImageDraw.Draw(page).text((10, line), "".join(rng.choice(list("abcdefgh  "), 28)), fill=0)
        yield page
        round_ = np.hypot(x, y * rng.uniform(0.7, 1.3)) < rng.uniform(0.3, 0.9)
        yield _grey(round_ * rng.uniform(0.3, 1))
        yield _grey(_chest(x, y, rng))


def _chest(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two dark lungs with ribs, a bright spine and heart."""
    image, offset = np.full(x.shape, 0.75), rng.uniform(0.3, 0.45)
    for side in (-1, 1):
        width, height = rng.uniform(0.2, 0.3), rng.uniform(0.5, 0.7)
        image -= 0.5 * np.exp(-(((x - side * offset) / width) ** 4) - ((y + 0.05) / height) ** 4)
    image += 0.15 * np.exp(-((x / 0.1) ** 2)) + 0.06 * np.sin(y * rng.uniform(25, 35) + 6 * x**2)
    image += 0.12 * np.exp(-(((x - 0.15) / 0.25) ** 2) - ((y - 0.3) / 0.25) ** 2)
    return image + rng.normal(0, 0.02, x.shape)


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray((values.clip(0, 1) * 255).astype(np.uint8))


def preprocessed(images: Iterator[Image.Image], size: int) -> np.ndarray:
    """Pictures preprocessed as for a model: uint8 [N, 1, size, size]."""
    pixels = []
    for image in images:
        file = BytesIO()
        image.save(file, "PNG")
        pixels.append(square(open_grey(file.getvalue()), size)[None])
    return np.stack(pixels)


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument("--image-size", type=int, default=48)
    args = options.parse_args()
    rng = np.random.default_rng(0)
    prepared = prepare(args.data, image_size=args.image_size, seed=0)
    development, test = prepared.development(), scored_before(prepared)
    reference = fit(features(np.asarray(development.train.pixels)))
    validation = distance(reference, features(np.asarray(development.validation.pixels)))
    max_distance = float(np.quantile(validation, 1 - FALSE_REJECTIONS, method="higher"))
    parts = {
        "validation": np.asarray(development.validation.pixels),
        "official test": np.asarray(test.pixels),
        "unseen test": np.asarray(test.pixels)[test.unseen],
        "photographs, textures, drawings": preprocessed(photographs(rng), args.image_size),
        "generated": preprocessed(generated(rng), args.image_size),
    }
    result = {
        "data": args.data.name,
        "image_size": args.image_size,
        "max_distance": max_distance,
        "rejected": {
            name: {
                "n": len(pixels),
                "share": round(float((distance(reference, features(pixels)) > max_distance).mean()), 4),
            }
            for name, pixels in parts.items()
        },
    }
    measure.report(f"foreign-{args.data.name}", result, quick=args.quick)


if __name__ == "__main__":
    main()
