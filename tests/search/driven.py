"""A worker without Ray around it: what the driver gives it, and what it hands back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tune_brain.cluster import versions
from tune_brain.data.arrays import Development
from tune_brain.search.trainable import TrialWorker

Start = Callable[[dict[str, Any]], TrialWorker]


def asked(
    number: int = 0, arch: str = "cnn", *, seed: int = 0, max_lr: float = 1e-3, precision: str = "fp32"
) -> dict[str, Any]:
    hyperparameters = {"max_lr": max_lr, "weight_decay": 0.0, "grad_clip": 1.0, "batch_size": 8}
    trial = {"arch": arch, "epochs": 3, "image_size": 16, "classes": 2, "seed": seed}
    return {"number": number, "trial": {**trial, "precision": precision, "hyperparameters": hyperparameters}}


def given(development: Development, checkpoints: Path) -> dict[str, Any]:
    """What Ray's driver gives a worker."""
    kept = {
        "checkpoints": checkpoints,
        "disk_budget": 10**9,
        "made_with": "",
        "versions_of_driver": versions(),
        "gpus": 0.5,
    }
    return {"development": development, "weights": None, **kept}


def results(worker: TrialWorker) -> list[dict[str, Any]]:
    """Everything up to the end of the trial that the worker has."""
    every = [worker.train()]
    while not every[-1]["done"]:
        every.append(worker.train())
    return every


def rows(worker: TrialWorker) -> list[dict[str, float]]:
    every = [row for result in results(worker) for row in result["rows"]]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in every]
