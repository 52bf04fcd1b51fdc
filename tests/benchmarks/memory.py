"""What a worker holds for itself: the data should not be in it.

    python tests/benchmarks/memory.py [--quick]

So many workers at a time train a trial each, on a small data set and on one of 20,000 images (82 MB at
64 px); the private memory of a worker (Linux: smaps_rollup, clean and dirty) may not grow with the data. The
plain arm makes a TensorDataset of the same arrays in each worker and trains the same network from a
DataLoader. Then ten trials in one worker: memory after the first and after the last.
"""

import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import measure
import numpy as np
import ray
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development, Images
from tune_brain.data.prepare import load
from tune_brain.models import build
from tune_brain.search.trainable import TrialWorker

SIZE = 64


class Probe(TrialWorker):
    """A worker that tells what it holds."""

    def setup(self, config: dict[str, Any], development: Development | None = None, **_: Any) -> None:
        # Ray makes the worker without data, which then come as they do from `with_parameters`.
        if development is not None:
            super().setup(
                config,
                development=development,
                weights=None,
                checkpoints=Path(tempfile.mkdtemp()),
                disk_budget=0,
                made_with="",
            )

    def private(self) -> float:
        """Private memory in MB."""
        return private()


class Plain:
    """A worker as it is written plainly, with the images that it was given in tensors of its own."""

    def __init__(self, trial: dict[str, Any]) -> None:
        self._trial = TrialConfig.model_validate(trial["trial"])

    def setup(self, _: dict[str, Any], development: Development) -> None:
        train = development.train
        self._images = TensorDataset(torch.tensor(train.pixels), torch.tensor(train.labels))

    def train(self) -> None:
        torch.set_num_threads(1)
        model = build(self._trial)
        update = torch.optim.AdamW(model.parameters())
        for images, labels in DataLoader(self._images, 32, shuffle=True):
            update.zero_grad()
            cross_entropy(model(images / 255), labels).backward()
            update.step()

    def private(self) -> float:
        """Private memory in MB."""
        return private()


def private() -> float:
    """Private memory of this process in MB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def data(images: int) -> Development:
    """Noise of four classes, read from files as a search reads its images."""
    chance = np.random.default_rng(0)

    def part(n: int) -> Images:
        # What is mapped stays when its files are gone.
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.save(folder / "pixels.npy", chance.integers(0, 256, (n, 1, SIZE, SIZE), np.uint8))
            np.save(folder / "labels.npy", np.arange(n) % 4)
            np.save(folder / "thumbnails.npy", np.zeros((n, 32, 32), np.uint8))
            return load(folder)

    return Development(classes=("a", "b", "c", "d"), train=part(images), validation=part(200))


def asked(number: int, arch: str = "linear") -> dict[str, Any]:
    """A trial of one epoch."""
    trial = {"arch": arch, "epochs": 1, "image_size": SIZE, "classes": 4, "seed": number, "precision": "fp32"}
    values = {"max_lr": 1e-3, "weight_decay": 0.0, "grad_clip": 1.0, "batch_size": 32}
    return {"number": number, "trial": {**trial, "hyperparameters": values}}


def held(kind: type, development: Any, workers: int) -> float:
    """Private MB of a worker after a trial, on the mean of so many at a time."""
    worker = ray.remote(num_cpus=1)(kind)
    actors = [worker.remote(asked(number)) for number in range(workers)]
    ray.get([actor.setup.remote(asked(number), development) for number, actor in enumerate(actors)])
    for _ in range(2):
        ray.get([actor.train.remote() for actor in actors])
    return fmean(ray.get([actor.private.remote() for actor in actors]))


def ten_trials(development: Any) -> dict[str, float]:
    """Private MB of one worker after the first and after the last of ten trials."""
    actor = ray.remote(num_cpus=1)(Probe).remote(asked(0))
    ray.get(actor.setup.remote(asked(0), development))
    after = []
    for number in range(10):
        ray.get(actor.reset.remote(asked(number)))
        ray.get(actor.train.remote())
        after.append(ray.get(actor.private.remote()))
    return {"after the first": after[0], "after the last": after[-1]}


def main() -> None:
    options = measure.parser(__doc__).parse_args()
    repeats = 1 if options.quick else options.repeats
    large, counts = (2_000, (1, 2)) if options.quick else (20_000, (1, 2, 4))
    ray.init(num_cpus=max(counts), include_dashboard=False, log_to_driver=False)
    small_data, large_data = ray.put(data(200)), ray.put(data(large))
    result: dict[str, Any] = {"images": large, "data in MB": large * SIZE**2 / 2**20}
    for workers in counts:
        told: dict[str, Any] = {}
        for arm, kind in (("plain", Plain), ("ours", Probe)):
            small = [held(kind, small_data, workers) for _ in range(repeats)]
            big = [held(kind, large_data, workers) for _ in range(repeats)]
            told[arm] = {
                "200 images": measure.spread(small),
                f"{large} images": measure.spread(big),
                "growth": measure.spread([after - before for before, after in zip(small, big, strict=True)]),
            }
        result[f"{workers} at a time: MB a worker"] = told
    trials = [ten_trials(small_data) for _ in range(repeats)]
    result["ten trials in one worker: MB"] = {
        when: measure.spread([each[when] for each in trials]) for when in trials[0]
    }
    measure.tell("memory", result, quick=options.quick)


if __name__ == "__main__":
    main()
