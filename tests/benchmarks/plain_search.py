"""The plain arm of whole_search.py: the same search written as Ray Tune's own examples teach.

    python tests/benchmarks/plain_search.py DATA ARCH TRIALS EPOCHS SIZE SEED

A function trainable, ImageFolder and a DataLoader that decode JPEG files in every epoch, fp32, Adam under
one-cycle, OptunaSearch and ASHA. The last line of the output is JSON: the number of epochs trained and, for
each trial, its configuration and its reports: Unix time and accuracy.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision import models, transforms
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import default_loader

CLASSES = 4


def network(arch: str, size: int) -> nn.Module:
    """The four architectures on RGB images, not optimised for speed."""
    if arch == "linear":
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(3 * size**2, 512),
            nn.ReLU(),
            nn.Linear(512, 128),
            nn.ReLU(),
            nn.Linear(128, CLASSES),
        )
    if arch == "cnn":
        stages = [
            layer
            for inputs, outputs in ((3, 32), (32, 64), (64, 128))
            for layer in (nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        ]
        return nn.Sequential(
            *stages, nn.Flatten(), nn.Linear(128 * (size // 8) ** 2, 256), nn.ReLU(), nn.Linear(256, CLASSES)
        )
    return models.get_model(arch, num_classes=CLASSES)


def fitted(
    config: dict[str, Any],
    training: Sequence[int],
    validation: Sequence[int],
    seed: int = 0,
    loader: Callable[[str], Any] = default_loader,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Train a configuration on images of Training/.

    Args:
        config: the tuned values, and `data`, `arch`, `size` and `epochs`.
        training: indices of the training images.
        validation: indices of the validation images.
        seed: of weights, order and augmentation.
        loader: opens an image file.

    Yields:
        After each epoch, predictions and labels of the validation images.
    """
    torch.manual_seed(seed)
    size, epochs = config["size"], config["epochs"]
    common = [
        transforms.Resize(size),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize([0.2] * 3, [0.2] * 3),
    ]
    augmented = [transforms.RandomHorizontalFlip(), transforms.RandomRotation(10), *common]
    folder = str(Path(config["data"]) / "Training")
    training_set = Subset(ImageFolder(folder, transforms.Compose(augmented), loader=loader), training)
    validation_set = Subset(ImageFolder(folder, transforms.Compose(common), loader=loader), validation)
    batches = DataLoader(training_set, 32, shuffle=True, drop_last=True)
    model = network(config["arch"], size)
    optimizer = torch.optim.Adam(model.parameters(), config["lr"], weight_decay=config["weight_decay"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config["lr"], epochs=epochs, steps_per_epoch=len(batches)
    )
    for _ in range(epochs):
        model.train()
        for images, labels in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            nn.utils.clip_grad_value_(model.parameters(), config["grad_clip"])
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            outputs = [
                (model(images).argmax(1), labels) for images, labels in DataLoader(validation_set, 128)
            ]
        predicted, truth = zip(*outputs, strict=True)
        yield torch.cat(predicted), torch.cat(truth)


def train(config: dict[str, Any]) -> None:
    """The trainable: one trial."""
    torch.manual_seed(0)
    order = torch.randperm(len(ImageFolder(str(Path(config["data"]) / "Training")))).tolist()
    cut = len(order) * 15 // 100
    for epoch, (predicted, labels) in enumerate(fitted(config, order[cut:], order[:cut]), 1):
        tune.report({"accuracy": (predicted == labels).float().mean().item(), "epoch": epoch})


def main() -> None:
    data, arch, trials, epochs, size, seed = sys.argv[1:]
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    space = {
        "data": str(Path(data).absolute()),
        "arch": arch,
        "epochs": int(epochs),
        "size": int(size),
        "lr": tune.loguniform(1e-5, 1e-1),
        "weight_decay": tune.loguniform(1e-6, 1e-1),
        "grad_clip": tune.loguniform(1e-2, 1e1),
    }
    results = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=int(trials),
            search_alg=OptunaSearch(seed=int(seed)),
            scheduler=ASHAScheduler(max_t=int(epochs), grace_period=min(3, int(epochs))),
        ),
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0),
    ).fit()
    trials = [
        {
            "config": result.config,
            "reports": result.metrics_dataframe[["timestamp", "accuracy"]].to_numpy().tolist(),
        }
        for result in results
        if result.metrics_dataframe is not None
    ]
    print(json.dumps({"epochs": sum(len(trial["reports"]) for trial in trials), "trials": trials}))


if __name__ == "__main__":
    main()
