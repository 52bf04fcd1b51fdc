"""The training loop: a generator that trains a trial and yields one row per epoch."""

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from tune_brain.config import Precision
from tune_brain.data.augment import augment
from tune_brain.data.batches import steps_per_epoch, training_batches
from tune_brain.errors import Diverged
from tune_brain.portable.networks import predict, view
from tune_brain.train.metrics import accuracy, confusion, macro_f1
from tune_brain.train.training import Training


class Step(NamedTuple):
    """The results of one optimizer step: detached tensors on the device."""

    norm: Tensor
    """L2 norm of the whole gradient before clipping."""
    logits: Tensor
    """float32 [B, classes], from before the step."""
    labels: Tensor
    """int64 [B]."""


def fit(training: Training) -> Iterator[dict[str, float]]:
    """Train a trial from its current epoch to its last.

    The order of the images and their augmentation depend on the seed alone. With the same type of CPU and
    number of threads, equal configurations, weights and arrays give equal rows except for `seconds`, even if
    the trial was stopped and restored in between.

    Args:
        training: as `begin` returns it or `restore` leaves it; it can be captured between two rows. Its model
            maps float [N, 1, H, W] in 0..1 to logits [N, classes].

    Yields:
        After each epoch, the fields of `records.EpochRow` from `epoch` on.

    Raises:
        Diverged: a loss or the norm of the gradient was not finite.
    """
    config, device, train = training.config, training.device, training.development.train
    model, optimizer, hp = training.model, training.optimizer, config.hyperparameters
    pixels, labels = view(train.pixels).to(device), view(train.labels).to(device)

    for epoch in range(training.done + 1, config.epochs + 1):
        started, lr = time.perf_counter(), 0.0
        model.train()
        steps = _Steps(steps_per_epoch(len(labels), hp.batch_size), len(labels), config.classes, device)
        for index in training_batches(len(labels), hp.batch_size, training.order):
            index = index.to(device, non_blocking=True)
            batch = augment(
                pixels[index], rotation=hp.rotation, flip=hp.flip, generator=training.augmentation
            )
            steps.add(step(model, optimizer, batch, labels[index], hp.grad_clip, config.precision))
            lr = optimizer.param_groups[0]["lr"]
            training.schedule.step()
        row = {
            "epoch": epoch,
            **steps.scores(hp.grad_clip, config.classes),
            **_validation_scores(training),
            "lr": lr,
            "seconds": time.perf_counter() - started,
        }
        _raise_if_diverged(row, config.epochs)
        yield row


def step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    labels: Tensor,
    grad_clip: float,
    precision: Precision,
) -> Step:
    """Take one optimizer step on a batch.

    Args:
        model: the model, in training mode.
        optimizer: its optimizer.
        batch: float [B, 1, H, W] in 0..1.
        labels: int64 [B].
        grad_clip: the L2 norm to which a longer gradient is scaled down.
        precision: bf16 runs the forward pass under autocast.
    """
    model.zero_grad()
    with torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits = model(batch).float()
    cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
    norm = clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return Step(norm, logits.detach(), labels)


class _Steps:
    """The results of an epoch's steps, collected on the device.

    They are read once, at the end of the epoch, because reading a result in the loop would wait for the
    device at each step. The buffers are allocated up front, because a small tensor kept from each step,
    between large ones that are freed, would fragment the heap by half a megabyte per step.
    """

    def __init__(self, steps: int, images: int, classes: int, device: torch.device) -> None:
        self._norms = torch.zeros(steps, device=device)
        self._logits = torch.zeros((images, classes), device=device)
        self._labels = torch.zeros(images, dtype=torch.int64, device=device)
        self._steps = self._images = 0

    def add(self, step: Step) -> None:
        """Store the results of one step."""
        images = slice(self._images, self._images + len(step.labels))
        self._norms[self._steps] = step.norm
        self._logits[images], self._labels[images] = step.logits, step.labels
        self._steps, self._images = self._steps + 1, images.stop

    def scores(self, grad_clip: float, classes: int) -> dict[str, float]:
        """The training measures of the epoch, as fields of `records.EpochRow`.

        Args:
            grad_clip: the norm above which a step's gradient was clipped.
            classes: number of classes.
        """
        logits, labels = self._logits[: self._images], self._labels[: self._images]
        counts = confusion(logits.argmax(1), labels, classes)
        return {
            "train_loss": float(cross_entropy(logits, labels)),
            "train_accuracy": accuracy(counts),
            "train_macro_f1": macro_f1(counts),
            "grad_norm": float(self._norms.mean()),
            "clipped_share": float((self._norms > grad_clip).float().mean()),
        }


def _validation_scores(training: Training) -> dict[str, float]:
    config, validation = training.config, training.development.validation
    labels = view(validation.labels)
    logits = predict(training.model, validation.pixels, training.device, config.precision)
    counts = confusion(logits.argmax(1), labels, config.classes)
    return {
        "val_loss": float(cross_entropy(logits, labels)),
        "val_accuracy": accuracy(counts),
        "val_macro_f1": macro_f1(counts),
    }


def _raise_if_diverged(row: dict[str, float], epochs: int) -> None:
    quantities = {
        "train_loss": "training loss",
        "grad_norm": "norm of the gradient",
        "val_loss": "validation loss",
    }
    for name, quantity in quantities.items():
        if not math.isfinite(row[name]):
            raise Diverged(f"In epoch {row['epoch']} of {epochs} the {quantity} was {row[name]}.")
