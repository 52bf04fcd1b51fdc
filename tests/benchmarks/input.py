"""Images per second into a training step, and the time to build the cache.

    python tests/benchmarks/input.py [--quick] [--data DIR]

The plain arm is the input of the plain script (`plain_search.py`): ImageFolder, PIL transforms with the same
augmentation of every sample before it is resized, and a DataLoader in the training process, which decodes the
JPEG files in every epoch. Another arm augments after resizing, which is faster. Our arm gathers batches from
the cached array and augments them. All use one thread. The cache is built from scratch on all cores and
compared with one such plain epoch over the training folder.
"""

import os
import tempfile
import time
from pathlib import Path

import measure
import numpy as np
import torch
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from tune_brain.data.augment import augment
from tune_brain.data.batches import training_batches
from tune_brain.data.catalogue import scan
from tune_brain.data.prepare import prepare
from tune_brain.portable.networks import view
from tune_brain.portable.pictures import open_grey, square

SIZE, BATCH = 64, 32


def plain(data: Path, images: int | None, *, resized_first: bool = False) -> tuple[int, float]:
    """Number of images and seconds of one plain epoch over a folder, or over this many of its images."""
    augmentation = [transforms.RandomHorizontalFlip(), transforms.RandomRotation(10)]
    resizing = [transforms.Resize(SIZE), transforms.CenterCrop(SIZE)]
    pipeline = [
        *((*resizing, *augmentation) if resized_first else (*augmentation, *resizing)),
        transforms.ToTensor(),
        transforms.Normalize([0.2] * 3, [0.2] * 3),
    ]
    folder = ImageFolder(str(data / "Training"), transforms.Compose(pipeline))
    order = torch.randperm(len(folder), generator=torch.Generator().manual_seed(0)).tolist()[:images]
    started = time.perf_counter()
    for _ in DataLoader(Subset(folder, order), BATCH):
        pass
    return len(order), time.perf_counter() - started


def ours(pixels: np.ndarray, epochs: int) -> float:
    """Images per second of our augmented batches."""
    images, order, augmentation = view(pixels), torch.Generator(), torch.Generator()
    order.manual_seed(0)
    augmentation.manual_seed(1)
    started = time.perf_counter()
    for _ in range(epochs):
        for index in training_batches(len(images), BATCH, order):
            augment(images[index], rotation=10, flip=0.5, generator=augmentation)
    return epochs * len(images) / (time.perf_counter() - started)


def built(data: Path) -> float:
    """Seconds to build the cache of a data set from scratch: scan, decode, group, split, write."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TUNE_BRAIN_CACHE"] = cache
        started = time.perf_counter()
        prepare(data, image_size=SIZE, seed=0)
        return time.perf_counter() - started


def difference(data: Path, images: int) -> dict[str, float]:
    """Mean absolute difference between scaled and full decoding in grey levels, over all and at worst."""
    catalogue = scan(data)
    chosen = catalogue.images[:: max(1, len(catalogue.images) // images)]
    files = [(data / image.name).read_bytes() for image in chosen]
    means = [
        float(
            np.abs(
                square(open_grey(file), SIZE).astype(float) - square(open_grey(file, 3 * SIZE), SIZE)
            ).mean()
        )
        for file in files
    ]
    return {"mean": float(np.mean(means)), "worst image": max(means), "n": len(means)}


def main() -> None:
    args = measure.parser(__doc__).parse_args()
    torch.set_num_threads(1)
    repeats, images = (1, 200) if args.quick else (args.repeats, None)
    prepared = prepare(args.data, image_size=SIZE, seed=0)
    pixels = prepared.development().train.pixels
    # Warms the page cache for both arms.
    count, _ = plain(args.data, images)
    values = measure.alternate(
        {
            "plain epoch": lambda: plain(args.data, images)[1],
            "resized first": lambda: plain(args.data, images, resized_first=True)[1],
            "ours": lambda: ours(pixels, 3),
            "building the cache": lambda: built(args.data),
        },
        repeats,
    )
    rates, resized_first = (
        [count / seconds for seconds in values[arm]] for arm in ("plain epoch", "resized first")
    )
    measure.report(
        "input",
        {
            "image size": SIZE,
            "plain: images/s": measure.spread(rates),
            "ours: images/s": measure.spread(values["ours"]),
            "ours / plain": measure.ratio(values["ours"], rates),
            "ours / plain, resized first": measure.ratio(values["ours"], resized_first),
            "building the cache: s": measure.spread(values["building the cache"]),
            "images of a plain epoch, of the cache": [count, len(scan(args.data).images)],
            "plain epoch / building the cache": measure.ratio(
                values["plain epoch"], values["building the cache"]
            ),
            "scaled against full decoding, grey levels": difference(args.data, 200 if args.quick else 1000),
        },
        quick=args.quick,
    )


if __name__ == "__main__":
    main()
