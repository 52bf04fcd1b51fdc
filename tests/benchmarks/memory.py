"""The private memory of a worker: the images should not be in it.

    python tests/benchmarks/memory.py [--quick]

Several workers at a time train one trial each, on a small data set and on one of 20,000 images (82 MB at
64 px). The private memory of a worker (Linux: smaps_rollup, clean and dirty) must not grow with the data. The
plain arm builds a TensorDataset of the same arrays in each worker and trains the same network from a
DataLoader. Then ten trials run in one worker: its memory after the first and after the last.
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

from tune_brain.cluster import versions
from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development, Images
from tune_brain.data.prepare import load
from tune_brain.models import build
from tune_brain.search.trainable import TrialWorker

SIZE = 64


class Probe(TrialWorker):
    """A worker that reports its private memory."""

    def setup(self, config: dict[str, Any], development: Development | None = None, **_: Any) -> None:
        # Ray creates the worker without data; they follow in a second call, as from `with_parameters`.
        if development is not None:
            super().setup(
                config,
                development=development,
                weights=None,
                checkpoints=Path(tempfile.mkdtemp()),
                disk_budget=0,
                made_with="",
                versions_of_driver=versions(),
                gpus=0.0,
            )

    def private(self) -> float:
        """Private memory in MB."""
        return private_memory()


class Plain:
    """A plain worker, which copies the images that it is given into its own tensors."""

    def __init__(self, trial: dict[str, Any]) -> None:
        self._trial = TrialConfig.model_validate(trial["trial"])

    def setup(self, _: dict[str, Any], development: Development) -> None:
        train = development.train
        self._images = TensorDataset(torch.tensor(train.pixels), torch.tensor(train.labels))

    def train(self) -> None:
        torch.set_num_threads(1)
        model = build(self._trial)
        optimizer = torch.optim.AdamW(model.parameters())
        for images, labels in DataLoader(self._images, 32, shuffle=True):
            optimizer.zero_grad()
            cross_entropy(model(images / 255), labels).backward()
            optimizer.step()

    def private(self) -> float:
        """Private memory in MB."""
        return private_memory()


def private_memory() -> float:
    """Private memory of this process in MB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def data(images: int) -> Development:
    """Noise images of four classes, memory-mapped from files as in a search."""
    rng = np.random.default_rng(0)

    def part(n: int) -> Images:
        # Mapped pages stay valid after their files are deleted.
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            np.save(folder / "pixels.npy", rng.integers(0, 256, (n, 1, SIZE, SIZE), np.uint8))
            np.save(folder / "labels.npy", np.arange(n) % 4)
            np.save(folder / "thumbnails.npy", np.zeros((n, 32, 32), np.uint8))
            return load(folder)

    return Development(classes=("a", "b", "c", "d"), train=part(images), validation=part(200))


def task(number: int, arch: str = "linear") -> dict[str, Any]:
    """The task of a trial of one epoch, as the driver sends it."""
    trial = {"arch": arch, "epochs": 1, "image_size": SIZE, "classes": 4, "seed": number, "precision": "fp32"}
    values = {"max_lr": 1e-3, "weight_decay": 0.0, "grad_clip": 1.0, "batch_size": 32}
    return {"number": number, "trial": {**trial, "hyperparameters": values}}


def private_mb(kind: type, development: Any, workers: int) -> float:
    """Mean private MB of a worker after two trials, with this many workers at a time."""
    worker = ray.remote(num_cpus=1)(kind)
    actors = [worker.remote(task(number)) for number in range(workers)]
    ray.get([actor.setup.remote(task(number), development) for number, actor in enumerate(actors)])
    for _ in range(2):
        ray.get([actor.train.remote() for actor in actors])
    return fmean(ray.get([actor.private.remote() for actor in actors]))


def ten_trials(development: Any) -> dict[str, float]:
    """Private MB of one worker after the first and after the last of ten trials."""
    actor = ray.remote(num_cpus=1)(Probe).remote(task(0))
    ray.get(actor.setup.remote(task(0), development))
    after = []
    for number in range(10):
        ray.get(actor.reset.remote(task(number)))
        ray.get(actor.train.remote())
        after.append(ray.get(actor.private.remote()))
    return {"after the first": after[0], "after the last": after[-1]}


def main() -> None:
    args = measure.parser(__doc__).parse_args()
    repeats = 1 if args.quick else args.repeats
    large, counts = (2_000, (1, 2)) if args.quick else (20_000, (1, 2, 4))
    ray.init(num_cpus=max(counts), include_dashboard=False, log_to_driver=False)
    small_data, large_data = ray.put(data(200)), ray.put(data(large))
    result: dict[str, Any] = {"images": large, "data in MB": large * SIZE**2 / 2**20}
    for workers in counts:
        arms: dict[str, Any] = {}
        for arm, kind in (("plain", Plain), ("ours", Probe)):
            small = [private_mb(kind, small_data, workers) for _ in range(repeats)]
            big = [private_mb(kind, large_data, workers) for _ in range(repeats)]
            arms[arm] = {
                "200 images": measure.spread(small),
                f"{large} images": measure.spread(big),
                "growth": measure.spread([after - before for before, after in zip(small, big, strict=True)]),
            }
        result[f"{workers} at a time: MB a worker"] = arms
    trials = [ten_trials(small_data) for _ in range(repeats)]
    result["ten trials in one worker: MB"] = {
        when: measure.spread([memory[when] for memory in trials]) for when in trials[0]
    }
    measure.report("memory", result, quick=args.quick)


if __name__ == "__main__":
    main()
