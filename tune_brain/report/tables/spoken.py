"""What the winners said of each test image, as tables. Read from predictions.npz, where it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tune_brain.errors import RunFolderError
from tune_brain.records import DAMAGED, named, seeds_of

BINS = 10
"""Bins of confidence in a reliability curve."""
POINTS = 200
"""Points of a ROC curve, at most."""
WORST = 12
"""Images that are named as the most wrongly classified."""


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What stands in predictions.npz, of the winners."""

    labels: NDArray[np.int64]
    """[N], true classes."""
    unseen: NDArray[np.bool_]
    """[N], False where another part has a twin."""
    names: list[str]
    """N names of images, from the folder of images on; empty where the file was written without them."""
    winners: Mapping[str, NDArray[np.float64]]
    """[S, N, C] by architecture: the probabilities of each seed run."""

    def part(self, name: str) -> NDArray[np.bool_]:
        """[N], which images belong to a part of the test."""
        return self.unseen if name == "unseen" else np.ones(len(self.labels), dtype=bool)


def read_spoken(path: Path, archs: Sequence[str]) -> Spoken:
    """Read predictions.npz.

    Raises:
        RunFolderError: it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = named(file.files, "probabilities")
            found = {
                arch: [file[f"probabilities/{name}"] for name in seeds_of(names, "winner", arch)]
                for arch in archs
            }
            return Spoken(
                labels=file["labels"],
                unseen=file["unseen"],
                names=file["names"].tolist() if "names" in file.files else [],
                winners={arch: np.stack(spoken) for arch, spoken in found.items() if spoken},
            )
    except DAMAGED as error:
        raise RunFolderError("predictions.npz must be readable", found=f"{path}: {error}") from None


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


def wrong(spoken: Spoken, classes: Sequence[str]) -> pd.DataFrame:
    """The `WORST` images most wrongly classified, worst first: whose true class winners thought least likely.

    Columns image (its place in the test), name, true, said (the commonest answer), votes and of (how many
    seed runs of all winners were wrong, of how many), probability (of the true class, mean over them),
    unseen.
    """
    everyone = np.concatenate(list(spoken.winners.values())) if spoken.winners else np.zeros((0, 0, 0))
    columns = ["image", "name", "true", "said", "votes", "of", "probability", "unseen"]
    if not len(everyone):
        return pd.DataFrame(columns=columns)
    answers, places = everyone.argmax(2), np.arange(len(spoken.labels))
    votes = (answers != spoken.labels).sum(0)
    likely = everyone[:, places, spoken.labels].mean(0)
    worst = sorted(np.flatnonzero(votes), key=lambda image: (likely[image], image))[:WORST]
    return pd.DataFrame(
        [
            {
                "image": int(image),
                # Names that are no UTF-8 stand with escapes.
                "name": spoken.names[image].encode("utf-8", "backslashreplace").decode()
                if spoken.names
                else "",
                "true": classes[spoken.labels[image]],
                "said": classes[int(np.bincount(answers[:, image]).argmax())],
                "votes": int(votes[image]),
                "of": len(everyone),
                "probability": float(likely[image]),
                "unseen": bool(spoken.unseen[image]),
            }
            for image in worst
        ],
        columns=columns,
    )
