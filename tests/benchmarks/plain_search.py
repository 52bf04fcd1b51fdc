"""The plain arm of whole_search.py: the same search as Ray Tune's own examples teach to write it.

    python tests/benchmarks/plain_search.py DATA ARCH TRIALS EPOCHS SIZE

A function trainable, ImageFolder and a DataLoader that decode JPEGs in every epoch, fp32, Adam under
one-cycle, OptunaSearch and ASHA. The last line is JSON: the epochs trained.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

CLASSES = 4


def network(arch: str, size: int) -> nn.Module:
    """The four architectures on RGB images, without thought for speed."""
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


def train(config: dict[str, Any]) -> None:
    """One trial."""
    torch.manual_seed(0)
    size, epochs = config["size"], config["epochs"]
    common = [
        transforms.Resize(size),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize([0.2] * 3, [0.2] * 3),
    ]
    augmented = [transforms.RandomHorizontalFlip(), transforms.RandomRotation(10), *common]
    folder = Path(config["data"]) / "Training"
    order = torch.randperm(len(ImageFolder(str(folder)))).tolist()
    cut = len(order) * 15 // 100
    training = Subset(ImageFolder(str(folder), transforms.Compose(augmented)), order[cut:])
    validation = Subset(ImageFolder(str(folder), transforms.Compose(common)), order[:cut])
    batches = DataLoader(training, 32, shuffle=True, drop_last=True)
    model = network(config["arch"], size)
    optimizer = torch.optim.Adam(model.parameters(), config["lr"], weight_decay=config["weight_decay"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config["lr"], epochs=epochs, steps_per_epoch=len(batches)
    )
    for epoch in range(1, epochs + 1):
        model.train()
        for images, labels in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            nn.utils.clip_grad_value_(model.parameters(), config["grad_clip"])
            optimizer.step()
            schedule.step()
        model.eval()
        hits = 0
        with torch.no_grad():
            for images, labels in DataLoader(validation, 128):
                hits += (model(images).argmax(1) == labels).sum().item()
        tune.report({"accuracy": hits / cut, "epoch": epoch})


def main() -> None:
    data, arch, trials, epochs, size = sys.argv[1:]
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
            search_alg=OptunaSearch(seed=0),
            scheduler=ASHAScheduler(max_t=int(epochs), grace_period=min(3, int(epochs))),
        ),
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(), verbose=0),
    ).fit()
    print(json.dumps({"epochs": sum(result.metrics.get("epoch", 0) for result in results)}))


if __name__ == "__main__":
    main()
