"""A bundle as a model: its members, what they say of pixels, and what it makes of that.

Every bundle holds a copy of this file, so it imports nothing of tune_brain.
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
    """Its logits are divided by it, which makes its probabilities honest on validation."""
    weight: float
    """Its share of the mean; those of a bundle add up to 1."""


class Answer(NamedTuple):
    """What a bundle says of N images."""

    probabilities: Floats
    """[N, C], calibrated."""
    members: Floats
    """[M, N, C], what each member says, calibrated."""
    distance: Floats
    """[N], how far an image looks from those in training."""
    foreign: NDArray[np.bool_]
    """[N], where it looks too far from them for the rest to mean anything."""
    unsure: NDArray[np.bool_]
    """[N], where it is foreign, or the highest probability is too low to be acted on."""


class Model(NamedTuple):
    """The members of a bundle and the rules by which they speak together."""

    classes: tuple[str, ...]
    image_size: int
    members: tuple[Member, ...]
    temperature: float
    """Of their mean."""
    reference: Reference
    max_distance: float
    """Images farther from the looks are foreign."""
    min_confidence: float
    """Below this probability the bundle is unsure."""

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[M, N, C] for images uint8 [N, 1, S, S], one image at a time, so that none depends on another."""
        return np.stack(
            [predict(one.network, pixels, CPU, INFERENCE, batch=1).numpy() for one in self.members]
        )

    def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """What the bundle says of images uint8 [N, 1, S, S]."""
        return self.conclude(pixels, self.logits(pixels))

    def describe(self, pixels: NDArray[np.uint8]) -> str:
        """What it says of one image uint8 [1, 1, S, S], in a line."""
        answer = self.answer(pixels)
        likely = int(answer.probabilities[0].argmax())
        doubt = "unlike the training images" if answer.foreign[0] else "unsure: please refer"
        said = f"{self.classes[likely]} {answer.probabilities[0, likely]:.1%}"
        return f"{said} ({doubt})" if answer.unsure[0] else said

    def conclude(self, pixels: NDArray[np.uint8], logits: NDArray[np.float32]) -> Answer:
        """What follows from the members' logits [M, N, C]."""
        members = np.stack(
            [calibrated(said, one.temperature) for one, said in zip(self.members, logits, strict=True)]
        )
        mixed = mean(members, [one.weight for one in self.members])
        probabilities = calibrated(logits_of(mixed), self.temperature)
        far = distance(self.reference, features(pixels))
        foreign = far > self.max_distance
        return Answer(
            probabilities, members, far, foreign, foreign | (probabilities.max(1) < self.min_confidence)
        )


def read(files: Sequence[Path], image_size: int) -> NDArray[np.uint8]:
    """JPEG and PNG files as a model sees them: uint8 [N, 1, S, S]."""
    side = needed(image_size)
    return np.stack([square(open_grey(file.read_bytes(), side), image_size)[None] for file in files])


def load(folder: Path) -> Model:
    """The model of a bundle's folder; `tune-brain verify` checks its files first, this does not."""
    about = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    names = [one["name"] for one in about["members"]]
    return assemble(
        about, {name: (folder / "weights" / f"{name}.safetensors").read_bytes() for name in names}
    )


def assemble(about: Mapping[str, Any], weights: Mapping[str, bytes]) -> Model:
    """A model from what bundle.json says and the safetensors of its members, by name."""
    members = []
    for one in about["members"]:
        net = network(one["arch"], len(about["classes"]), about["image_size"])
        net.load_state_dict(load_state(weights[one["name"]]))
        net.requires_grad_(False)
        members.append(Member(one["name"], net, one["temperature"], one["weight"]))
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
