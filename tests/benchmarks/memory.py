"""What a worker holds for itself: the data should not be in it.

    python tests/benchmarks/memory.py [--quick]

So many workers at a time train a trial each, on a small data set and on one of 20,000 images (82 MB at
64 px); the private memory of a worker (Linux: smaps_rollup, clean and dirty) may not grow with the data. Then
ten trials in one worker: memory after the first and after the last.
"""

import tempfile
from pathlib import Path
from typing import Any

import measure
import numpy as np
import ray

from tune_brain.data.arrays import Development, Images
from tune_brain.data.prepare import load
from tune_brain.search.trainable import TrialWorker

SIZE = 64


class Probe(TrialWorker):
    """A worker that tells what it holds."""

    def setup(self, config: dict[str, Any], development: Development | None = None, **_: Any) -> None:
        # Ray makes the worker without data, which then come as they do from `with_parameters`.
        if development is not None:
            super().setup(config, development=development, checkpoints=Path(tempfile.mkdtemp()))

    def private(self) -> float:
        """Private memory in MB."""
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


def held(development: Any, workers: int) -> list[float]:
    """Private MB of each of so many workers after a trial."""
    worker = ray.remote(num_cpus=1)(Probe)
    actors = [worker.remote(asked(number)) for number in range(workers)]
    ray.get([actor.setup.remote(asked(number), development) for number, actor in enumerate(actors)])
    for _ in range(2):
        ray.get([actor.train.remote() for actor in actors])
    return ray.get([actor.private.remote() for actor in actors])


def main() -> None:
    options = measure.parser(__doc__).parse_args()
    large, counts = (2_000, (1, 2)) if options.quick else (20_000, (1, 2, 4))
    ray.init(num_cpus=max(counts), include_dashboard=False, log_to_driver=False)
    small_data, large_data = ray.put(data(200)), ray.put(data(large))
    result: dict[str, Any] = {"images": large, "data in MB": large * SIZE**2 / 2**20}
    for workers in counts:
        small, big = held(small_data, workers), held(large_data, workers)
        result[f"{workers} at a time: MB a worker"] = {
            "200 images": measure.spread(small),
            f"{large} images": measure.spread(big),
            "growth": max(big) - min(small),
        }
    actor = ray.remote(num_cpus=1)(Probe).remote(asked(0))
    ray.get(actor.setup.remote(asked(0), small_data))
    after = []
    for number in range(10):
        ray.get(actor.reset.remote(asked(number)))
        ray.get(actor.train.remote())
        after.append(ray.get(actor.private.remote()))
    result["ten trials in one worker: MB"] = {"after the first": after[0], "after the last": after[-1]}
    measure.tell("memory", result, quick=options.quick)


if __name__ == "__main__":
    main()
