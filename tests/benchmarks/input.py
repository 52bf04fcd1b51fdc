"""Images per second into a training step, and how long the cache takes to build.

    python tests/benchmarks/input.py [--quick] [--data DIR]

The plain arm is that of the plain script (`plain_search.py`): ImageFolder, PIL transforms with the same
augmentation of every sample before it is made smaller, a DataLoader in the training process, JPEGs decoded in
each epoch. Ours gathers a batch from the cached array and augments it. Both on one thread. The cache is built
from nothing on all cores, against one such plain epoch over the training folder.
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


def plain(data: Path, images: int | None) -> tuple[int, float]:
    """Images and seconds of one plain epoch over a folder, or over so many images of it."""
    pipeline = [
        transforms.RandomHorizontalFlip(),
        transforms.RandomRotation(10),
        transforms.Resize(SIZE),
        transforms.CenterCrop(SIZE),
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
    """Images per second of our batches."""
    images, order, chance = view(pixels), torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    started = time.perf_counter()
    for _ in range(epochs):
        for index in training_batches(len(images), BATCH, order):
            augment(images[index], rotation=10, flip=0.5, generator=chance)
    return epochs * len(images) / (time.perf_counter() - started)


def built(data: Path) -> float:
    """Seconds to make the cache of a data set from nothing: scan, decode, group, cut, write."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TUNE_BRAIN_CACHE"] = cache
        started = time.perf_counter()
        prepare(data, image_size=SIZE, seed=0)
        return time.perf_counter() - started


def difference(data: Path, images: int) -> dict[str, float]:
    """Mean absolute difference of scaled and full decoding in grey levels: of all images, of the worst."""
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
    asked = measure.parser(__doc__).parse_args()
    torch.set_num_threads(1)
    repeats, images = (1, 200) if asked.quick else (asked.repeats, None)
    prepared = prepare(asked.data, image_size=SIZE, seed=0)
    pixels = prepared.development().train.pixels
    # Both read warm files.
    count, _ = plain(asked.data, images)
    values = measure.alternate(
        {
            "plain epoch": lambda: plain(asked.data, images)[1],
            "ours": lambda: ours(pixels, 3),
            "building the cache": lambda: built(asked.data),
        },
        repeats,
    )
    rates = [count / seconds for seconds in values["plain epoch"]]
    measure.tell(
        "input",
        {
            "image size": SIZE,
            "plain: images/s": measure.spread(rates),
            "ours: images/s": measure.spread(values["ours"]),
            "ours / plain": measure.ratio(values["ours"], rates),
            "building the cache: s": measure.spread(values["building the cache"]),
            "images of a plain epoch, of the cache": [count, len(scan(asked.data).images)],
            "plain epoch / building the cache": measure.ratio(
                values["plain epoch"], values["building the cache"]
            ),
            "scaled against full decoding, grey levels": difference(asked.data, 200 if asked.quick else 1000),
        },
        quick=asked.quick,
    )


if __name__ == "__main__":
    main()
