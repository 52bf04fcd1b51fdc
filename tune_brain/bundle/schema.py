"""What bundle.json says: all that decides a bundle's answers beside the weights, and where it comes from."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tune_brain.config import ARCHITECTURES, MOST_NETWORKS, Frozen

FORMAT = 3
ABOUT = "bundle.json"
SIMILAR = "similar.safetensors"
CARD = "MODEL_CARD.md"


Temperature = Annotated[float, Field(ge=0.01, le=100)]
"""Calibration finds .05 to 20; far beyond, probabilities are no numbers."""


class Member(Frozen):
    """One trained network of a bundle."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    """Its weights are weights/<name>.safetensors."""
    arch: Literal[ARCHITECTURES]  # type: ignore[valid-type]
    temperature: Temperature
    weight: float = Field(ge=0, le=1)


class Reference(Frozen):
    """What training images look like, and how far an image may be from that."""

    mean: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    max_distance: float
    false_rejections: float


class Abstention(Frozen):
    """When a bundle is sure enough, by validation."""

    min_confidence: float
    error_rate: float
    answered: float
    errors: float | None
    n: int


class About(Frozen):
    """The contents of bundle.json."""

    format: Literal[3]
    name: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    """An architecture, or `ensemble`."""
    classes: tuple[str, ...] = Field(min_length=2, max_length=1000)
    image_size: int = Field(ge=16, le=1024)
    preprocessing: str
    members: tuple[Member, ...] = Field(min_length=1, max_length=MOST_NETWORKS)
    temperature: Temperature
    """Of the mean of the members, as theirs are of their logits; 1 for a single one."""
    embedding: str
    """The member by whose embeddings similar training images are found."""
    ood: Reference
    abstention: Abstention
    calibration: dict[str, Any]
    """Calibration error and log loss on validation, before and after."""
    scores: dict[str, Any]
    """Official and unseen, as in the run's scores.json."""
    data: dict[str, Any]
    """Digest of the images, seed of their cut, counts by part and class; no names of files."""
    versions: dict[str, Any]
    weights_started_from: str
    note: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) != len(names) or self.embedding not in names:
            raise ValueError("members have names of their own, and one of them gives the embedding")
        if abs(sum(member.weight for member in self.members) - 1) > 1e-6:
            raise ValueError("the weights of the members add up to 1")
        if any(len(row) != len(self.ood.mean) for row in (self.ood.precision, *self.ood.precision)):
            raise ValueError("ood.precision is a square of the length of ood.mean")
        return self


def weights_file(member: str) -> str:
    """Where a member's weights stand in a bundle."""
    return f"weights/{member}.safetensors"
