"""Tables of the winners' predictions for the test: ROC curves, reliability, the worst errors."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tune_brain.array_types import Floats, Ints
from tune_brain.evaluate.predictions import Predictions

BINS = 10
"""Confidence bins of a reliability curve."""
POINTS = 200
"""Maximum number of points of a ROC curve."""
WORST = 12
"""Number of worst misclassified images that are listed."""


def roc(probabilities: Floats, labels: Ints, label: int) -> pd.DataFrame:
    """The ROC curve of one class against the others, seed runs pooled.

    Computed here because importing sklearn.metrics takes more than half as long as importing the rest of the
    page; a test compares the curve with scikit-learn's.

    Args:
        probabilities: [S, N, C], by seed run, image and class.
        labels: [N].
        label: the class.

    Returns:
        Columns false_positive and true_positive (rates), from (0, 0) to (1, 1), thinned to `POINTS`; empty
        if the labels contain only the class or only others.
    """
    scores = probabilities[:, :, label].ravel()
    positive = np.tile(labels == label, len(probabilities))
    if positive.all() or not positive.any():
        return pd.DataFrame(columns=["false_positive", "true_positive"])
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    true = np.append(0, np.cumsum(positive[order])[last]) / positive.sum()
    false = np.append(0, np.cumsum(~positive[order])[last]) / (~positive).sum()
    kept = np.unique(np.linspace(0, len(true) - 1, min(len(true), POINTS)).round().astype(int))
    return pd.DataFrame({"false_positive": false[kept], "true_positive": true[kept]})


def reliability(probabilities: Floats, labels: Ints) -> pd.DataFrame:
    """Accuracy by confidence, seed runs pooled.

    Args:
        probabilities: [S, N, C], by seed run, image and class.
        labels: [N].

    Returns:
        Columns confidence (mean of the bin), accuracy and n, one line per bin that contains images.
    """
    confidence = probabilities.max(2).ravel()
    correct = (probabilities.argmax(2) == labels).ravel()
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    table = pd.DataFrame({"bin": bins, "confidence": confidence, "accuracy": correct, "n": 1})
    return table.groupby("bin", as_index=False).agg(
        confidence=("confidence", "mean"), accuracy=("accuracy", "mean"), n=("n", "sum")
    )


def misclassified(
    predictions: Predictions, winners: Mapping[str, Floats], classes: Sequence[str]
) -> pd.DataFrame:
    """The `WORST` misclassified images, by mean probability of the true class, lowest first.

    Columns image (index in the test), name, true, predicted (by most seed runs), votes (seed runs that are
    wrong) and of (all seed runs of all winners), probability (of the true class, mean over them), unseen.

    Args:
        predictions: the predictions for the test.
        winners: [S, N, C] by architecture, from the winners' seed runs.
        classes: class names, by label.
    """
    columns = ["image", "name", "true", "predicted", "votes", "of", "probability", "unseen"]
    if not winners:
        return pd.DataFrame(columns=columns)
    probabilities = np.concatenate(list(winners.values()))
    predicted, labels = probabilities.argmax(2), predictions.labels
    votes = (predicted != labels).sum(0)
    of_true = probabilities[:, np.arange(len(labels)), labels].mean(0)
    worst = sorted(np.flatnonzero(votes), key=lambda image: (of_true[image], image))[:WORST]
    return pd.DataFrame(
        [
            {
                "image": int(image),
                # File names that are not valid UTF-8 are shown with escapes.
                "name": str(predictions.names[image]).encode("utf-8", "backslashreplace").decode(),
                "true": classes[labels[image]],
                "predicted": classes[int(np.bincount(predicted[:, image]).argmax())],
                "votes": int(votes[image]),
                "of": len(probabilities),
                "probability": float(of_true[image]),
                "unseen": bool(predictions.unseen[image]),
            }
            for image in worst
        ],
        columns=columns,
    )
