"""The winners' predictions for the test, as tables: ROC curves, reliability, the worst errors."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tune_brain.evaluate.predictions import Predictions

BINS = 10
"""Bins of confidence in a reliability curve."""
POINTS = 200
"""Points of a ROC curve, at most."""
WORST = 12
"""Images that are named as the most wrongly classified."""


def roc(probabilities: NDArray[np.float64], labels: NDArray[np.int64], label: int) -> pd.DataFrame:
    """The ROC curve of one class against the others, seed runs pooled.

    Args:
        probabilities: [S, N, C].
        labels: [N].
        label: the class.

    Returns:
        Columns false_positive and true_positive (shares), from (0, 0) to (1, 1); empty without both kinds.
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


def reliability(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> pd.DataFrame:
    """How often the named class was right, by how sure the classifier was, seed runs pooled.

    Columns confidence (mean in the bin), accuracy and n, for each bin of confidence that has images.
    """
    confidence = probabilities.max(2).ravel()
    right = (probabilities.argmax(2) == labels).ravel()
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    table = pd.DataFrame({"bin": bins, "confidence": confidence, "accuracy": right, "n": 1})
    return table.groupby("bin", as_index=False).agg(
        confidence=("confidence", "mean"), accuracy=("accuracy", "mean"), n=("n", "sum")
    )


def misclassified(
    predictions: Predictions, winners: Mapping[str, NDArray[np.float64]], classes: Sequence[str]
) -> pd.DataFrame:
    """The `WORST` images most wrongly classified, worst first, by the probability of the true class.

    Columns image (its place in the test), name, true, predicted (by most), votes and of (how many seed runs
    of all winners were wrong, of how many), probability (of the true class, mean over them), unseen.

    Args:
        predictions: those for the test.
        winners: [S, N, C] by architecture, of the winners' seed runs.
        classes: names, by label.
    """
    columns = ["image", "name", "true", "predicted", "votes", "of", "probability", "unseen"]
    if not winners:
        return pd.DataFrame(columns=columns)
    probabilities = np.concatenate(list(winners.values()))
    answers, labels = probabilities.argmax(2), predictions.labels
    votes = (answers != labels).sum(0)
    likely = probabilities[:, np.arange(len(labels)), labels].mean(0)
    worst = sorted(np.flatnonzero(votes), key=lambda image: (likely[image], image))[:WORST]
    return pd.DataFrame(
        [
            {
                "image": int(image),
                # Names that are no UTF-8 stand with escapes.
                "name": str(predictions.names[image]).encode("utf-8", "backslashreplace").decode(),
                "true": classes[labels[image]],
                "predicted": classes[int(np.bincount(answers[:, image]).argmax())],
                "votes": int(votes[image]),
                "of": len(probabilities),
                "probability": float(likely[image]),
                "unseen": bool(predictions.unseen[image]),
            }
            for image in worst
        ],
        columns=columns,
    )
