"""A bundle as a model: it runs the members, combines their predictions and decides when to abstain.

Every bundle contains a copy of this file, so it imports nothing from tune_brain.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load as load_state
from torch import nn

from .networks import CPU, INFERENCE, network, predict
from .ood import Reference, distance, features
from .pictures import needed, open_grey, square
from .probabilities import Floats, calibrated, logits_of, mean


class Member(NamedTuple):
    """One trained network of a bundle."""

    name: str
    network: nn.Module
    temperature: float
    """Divides its logits; fitted on validation, so that its probabilities are calibrated there."""
    weight: float
    """Its weight in the mean of the members; a bundle's weights add up to 1."""


class Inference(NamedTuple):
    """A bundle's predictions for N images."""

    probabilities: Floats
    """[N, C], calibrated."""
    members: Floats
    """[M, N, C], calibrated predictions of each member."""
    distance: Floats
    """[N], distance of each image's features from those of the training images."""
    foreign: NDArray[np.bool_]
    """[N], out of distribution: farther than `Model.max_distance`, so the probabilities mean nothing."""
    unsure: NDArray[np.bool_]
    """[N], abstentions: foreign, or the highest probability is below `Model.min_confidence`."""


class Model(NamedTuple):
    """The members of a bundle and the rules that turn their logits into a prediction."""

    classes: tuple[str, ...]
    image_size: int
    members: tuple[Member, ...]
    temperature: float
    """Applied to the mean of the members; 1 for a single member."""
    reference: Reference
    max_distance: float
    """Images whose features are farther from the reference are foreign."""
    min_confidence: float
    """The bundle abstains below this probability."""

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [M, N, C] for images uint8 [N, 1, S, S].

        Runs one image at a time, so that the bits of a result do not depend on the rest of the batch.
        """
        return np.stack(
            [predict(member.network, pixels, CPU, INFERENCE, batch=1).numpy() for member in self.members]
        )

    def infer(self, pixels: NDArray[np.uint8]) -> Inference:
        """Predict images uint8 [N, 1, S, S]."""
        return self.conclude(pixels, self.logits(pixels))

    def describe(self, pixels: NDArray[np.uint8]) -> str:
        """The prediction for one image uint8 [1, 1, S, S], as one line of text."""
        inference = self.infer(pixels)
        likely = int(inference.probabilities[0].argmax())
        doubt = "unlike the training images" if inference.foreign[0] else "unsure: please refer"
        line = f"{self.classes[likely]} {inference.probabilities[0, likely]:.1%}"
        return f"{line} ({doubt})" if inference.unsure[0] else line

    def conclude(self, pixels: NDArray[np.uint8], logits: NDArray[np.float32]) -> Inference:
        """Combine the members' logits [M, N, C] for images uint8 [N, 1, S, S] into predictions."""
        members = np.stack(
            [
                calibrated(values, member.temperature)
                for member, values in zip(self.members, logits, strict=True)
            ]
        )
        mixed = mean(members, [member.weight for member in self.members])
        probabilities = calibrated(logits_of(mixed), self.temperature)
        distances = distance(self.reference, features(pixels))
        foreign = distances > self.max_distance
        unsure = foreign | (probabilities.max(1) < self.min_confidence)
        return Inference(probabilities, members, distances, foreign, unsure)


def read(files: Sequence[Path], image_size: int) -> NDArray[np.uint8]:
    """Decode JPEG and PNG files to a model's input, uint8 [N, 1, S, S]."""
    side = needed(image_size)
    return np.stack([square(open_grey(file.read_bytes(), side), image_size)[None] for file in files])


def load(folder: Path) -> Model:
    """Load the model of a bundle's folder. It checks no file: predict.py does that before it imports this."""
    about = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    names = [member["name"] for member in about["members"]]
    return assemble(
        about, {name: (folder / "weights" / f"{name}.safetensors").read_bytes() for name in names}
    )


def assemble(about: Mapping[str, Any], weights: Mapping[str, bytes]) -> Model:
    """Build a model.

    Args:
        about: the contents of bundle.json.
        weights: contents of the safetensors file of each member, by its name.
    """
    members = []
    for member in about["members"]:
        net = network(member["arch"], len(about["classes"]), about["image_size"])
        net.load_state_dict(load_state(weights[member["name"]]))
        net.requires_grad_(False)
        members.append(Member(member["name"], net, member["temperature"], member["weight"]))
    reference = Reference(*(np.array(about["ood"][key]) for key in ("mean", "precision")))
    return Model(
        tuple(about["classes"]),
        about["image_size"],
        tuple(members),
        about["temperature"],
        reference,
        about["ood"]["max_distance"],
        about["abstention"]["min_confidence"],
    )
