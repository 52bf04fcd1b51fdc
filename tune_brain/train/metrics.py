"""Accuracy and macro-F1 from a confusion matrix."""

import torch
from torch import Tensor


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts int64 [classes, classes]: rows are true classes, columns predicted ones.

    Args:
        predicted: class numbers int64 [N].
        labels: class numbers int64 [N].
        classes: number of classes.
    """
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def accuracy(confusion: Tensor) -> float:
    """Share of correctly predicted images."""
    return float(confusion.diagonal().sum() / confusion.sum())


def macro_f1(confusion: Tensor) -> float:
    """Mean F1 over the classes with images; a class that is never predicted has F1 = 0.

    The F1 of a class is 2 TP / (its images + its predictions).
    """
    counts = confusion.double()
    images, predictions = counts.sum(1), counts.sum(0)
    present = images > 0
    return float((2 * counts.diagonal() / (images + predictions))[present].mean())
