"""What a bundle says of an image, with what a person needs to judge it: members, heat map, similar cases."""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field

from tune_brain.bundle.read import Bundle
from tune_brain.explain import finest, grad_cam, see
from tune_brain.serve.images import SHOWN

NEIGHBOURS = 5
"""Training images that are named as similar."""

WORDS = (
    (0.95, "very likely"),
    (0.8, "likely"),
    (0.6, "more likely than not"),
    (0.0, "barely likelier than others"),
)

UNSURE = "Unsure: please refer."
FOREIGN = "Unlike the images this was trained on: please refer."


Share = Annotated[float, Field(ge=0, le=1)]


class Member(BaseModel):
    """What one network of the bundle says."""

    name: str
    label: str
    probability: Share
    """Calibrated, of its own class."""
    weight: Share
    logits: list[float]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a bundle says of one image."""

    label: str
    """The likeliest class."""
    probability: float
    """Calibrated."""
    probabilities: dict[str, float]
    words: str
    """The probability in plain words."""
    unsure: bool
    foreign: bool
    """The picture does not look like the training images; what else is said of it means nothing."""
    advice: str
    """What to do where it is unsure; else empty."""
    members: list[Member]
    agreeing: int
    """How many members name the same class as the whole."""
    similar: list[tuple[str, float]]
    """Classes of the most similar training images, with the cosine of their embeddings to this one's."""
    heat: NDArray[np.float32] | None
    """[448, 448] in 0..1, where it saw what speaks for its class; None without convolutions."""


class Predictor:
    """A bundle that answers, one image at a time, from one thread."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        model = bundle.model
        self._layers = {one.name: finest(one.network, model.image_size) for one in model.members}
        # As in the search's workers: another number of threads may add in another order.
        torch.set_num_threads(1)

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """What it says of one image uint8 [1, 1, S, S]."""
        model, about = self.bundle.model, self.bundle.about
        seen = [see(one.network, self._layers[one.name], pixels) for one in model.members]
        logits = np.stack([one.logits.detach().numpy() for one in seen])
        answer = model.conclude(pixels, logits)
        likely = int(answer.probabilities[0].argmax())
        probability = float(answer.probabilities[0, likely])
        named = answer.members[:, 0].argmax(1)
        maps = [(one.weight, grad_cam(found, likely)) for one, found in zip(model.members, seen, strict=True)]
        embedding = next(
            found.embedding
            for one, found in zip(model.members, seen, strict=True)
            if one.name == about.embedding
        )
        foreign, unsure = bool(answer.foreign[0]), bool(answer.unsure[0])
        return Answer(
            label=model.classes[likely],
            probability=probability,
            probabilities=dict(zip(model.classes, answer.probabilities[0].tolist(), strict=True)),
            words=next(words for least, words in WORDS if probability >= least),
            unsure=unsure,
            foreign=foreign,
            advice=FOREIGN if foreign else UNSURE if unsure else "",
            members=[
                Member(
                    name=one.name,
                    label=model.classes[named[index]],
                    probability=float(answer.members[index, 0, named[index]]),
                    weight=one.weight,
                    logits=logits[index, 0].tolist(),
                )
                for index, one in enumerate(model.members)
            ],
            agreeing=int((named == likely).sum()),
            similar=self._similar(embedding),
            heat=_mean_heat([(weight, heat) for weight, heat in maps if heat is not None]),
        )

    def _similar(self, embedding: NDArray[np.float32]) -> list[tuple[str, float]]:
        away = self.bundle.embeddings @ (embedding / max(float(np.linalg.norm(embedding)), 1e-12))
        nearest = np.argsort(-away, kind="stable")[:NEIGHBOURS]
        classes = self.bundle.model.classes
        return [(classes[self.bundle.labels[index]], float(away[index])) for index in nearest]


def in_words(similar: list[tuple[str, float]]) -> str:
    """Similar training images in words: 4 glioma, 1 meningioma."""
    return ", ".join(f"{n} {label}" for label, n in Counter(label for label, _ in similar).most_common())


def _mean_heat(maps: list[tuple[float, NDArray[np.float32]]]) -> NDArray[np.float32] | None:
    """The members' maps, of any sizes, as one of the size that is shown."""
    if not maps:
        return None
    total = np.zeros((SHOWN, SHOWN), np.float32)
    for weight, heat in maps:
        image = Image.fromarray(heat).resize((SHOWN, SHOWN), Image.Resampling.BICUBIC)
        total += weight * np.asarray(image).clip(0, 1)
    return total / max(float(total.max()), 1e-12)
