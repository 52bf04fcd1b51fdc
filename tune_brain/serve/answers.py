"""Predict an image with a bundle, and add what helps to judge it: members, heat map, similar cases."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, Field

from tune_brain.array_types import Bytes, Float32s
from tune_brain.bundle.read import Bundle
from tune_brain.explain import cam_layer, grad_cam, trace
from tune_brain.serve.images import SHOWN

NOTICE = "Not a medical device. For research and teaching; no decision about a person may rest on it."
NEIGHBOURS = 5
"""Number of similar training images to report."""

WORDS = (
    (0.95, "very likely"),
    (0.8, "likely"),
    (0.5, "more likely than not"),
    (0.0, "the most likely class, but less likely than not"),
)
"""Descriptions of the probability of the most likely class, each from a lower bound on."""

UNSURE = "Unsure: please refer."
FOREIGN = "Unlike the images this was trained on: please refer."
LOW = "Its confidence is too low to rely on this."
MEANINGLESS = "Networks compute numbers for any picture. For this one they mean nothing."

Share = Annotated[float, Field(ge=0, le=1)]


class MemberAnswer(BaseModel):
    """The prediction of one network of the bundle."""

    name: str
    label: str
    probability: Share
    """Calibrated probability of `label`."""
    weight: Share


class Similar(BaseModel):
    """A training image close to this one in the embedding space: its class, but not its picture."""

    label: str
    similarity: float
    """Cosine similarity of the two embeddings."""


class Answer(BaseModel):
    """A bundle's prediction for one image."""

    label: str
    """The most likely class."""
    probability: Share
    """Calibrated probability of `label`."""
    probabilities: dict[str, Share]
    words: str
    """The probability in plain words."""
    unsure: bool
    foreign: bool
    """Out of distribution: it does not look like the training images, so nothing else here is meaningful."""
    advice: str
    """What to do if it is unsure, else empty."""
    reason: str
    """Why it is unsure, else empty."""
    members: list[MemberAnswer]
    agreeing: int
    """Number of members whose most likely class is `label`."""
    similar: list[Similar]
    """The most similar training images, the most similar first."""


class Predictor:
    """Predicts and explains images with a bundle, one at a time. Not thread-safe."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        model = bundle.model
        self._layers = {member.name: cam_layer(member.network, model.image_size) for member in model.members}
        # As in the search's workers: the number of threads can change the order of additions.
        torch.set_num_threads(1)

    def answer(self, pixels: Bytes) -> tuple[Answer, Float32s | None]:
        """Predict one image.

        Args:
            pixels: uint8 [1, 1, S, S].

        Returns:
            The prediction, and a heat map [448, 448] in 0..1 of what speaks for its class, averaged over the
            members; None if no member has a convolution, or no region speaks for it.
        """
        model, about = self.bundle.model, self.bundle.about
        traces = [trace(member.network, self._layers[member.name], pixels) for member in model.members]
        inference = model.conclude(pixels, np.stack([traced.logits.detach().numpy() for traced in traces]))
        likely = int(inference.probabilities[0].argmax())
        probability = float(inference.probabilities[0, likely])
        votes = inference.members[:, 0].argmax(1)
        embedding = next(
            traced.embedding
            for member, traced in zip(model.members, traces, strict=True)
            if member.name == about.embedding
        )
        foreign, unsure = bool(inference.foreign[0]), bool(inference.unsure[0])
        answer = Answer(
            label=model.classes[likely],
            probability=probability,
            probabilities=dict(zip(model.classes, inference.probabilities[0].tolist(), strict=True)),
            words=likelihood(probability),
            unsure=unsure,
            foreign=foreign,
            advice=FOREIGN if foreign else UNSURE if unsure else "",
            reason=MEANINGLESS if foreign else about.abstention.never_sure or LOW if unsure else "",
            members=[
                MemberAnswer(
                    name=member.name,
                    label=model.classes[vote],
                    probability=float(inference.members[index, 0, vote]),
                    weight=member.weight,
                )
                for index, (member, vote) in enumerate(zip(model.members, votes, strict=True))
            ],
            agreeing=int((votes == likely).sum()),
            similar=self._similar(embedding),
        )
        maps = [
            (member.weight, heat)
            for member, traced in zip(model.members, traces, strict=True)
            if (heat := grad_cam(traced, likely)) is not None
        ]
        return answer, _mean_heat(maps)

    def _similar(self, embedding: Float32s) -> list[Similar]:
        similarity = self.bundle.embeddings @ (embedding / max(float(np.linalg.norm(embedding)), 1e-12))
        nearest = np.argsort(-similarity, kind="stable")[:NEIGHBOURS]
        classes, labels = self.bundle.model.classes, self.bundle.labels
        return [
            Similar(label=classes[labels[index]], similarity=float(similarity[index])) for index in nearest
        ]


def likelihood(probability: float) -> str:
    """The probability of the most likely class in plain words."""
    return next(words for least, words in WORDS if probability >= least)


def in_words(similar: Sequence[Similar]) -> str:
    """The classes of similar training images with their counts: "4 glioma, 1 meningioma"."""
    counts = Counter(neighbour.label for neighbour in similar)
    return ", ".join(f"{n} {label}" for label, n in counts.most_common())


def _mean_heat(maps: Sequence[tuple[float, Float32s]]) -> Float32s | None:
    """Weighted mean of heat maps of any size, resized for display, with a maximum of 1; None if it is 0."""
    total = np.zeros((SHOWN, SHOWN), np.float32)
    for weight, heat in maps:
        image = Image.fromarray(heat).resize((SHOWN, SHOWN), Image.Resampling.BICUBIC)
        total += weight * np.asarray(image).clip(0, 1)
    return total / total.max() if total.any() else None
