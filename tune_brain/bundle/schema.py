"""The schema of bundle.json: what determines a bundle's predictions beside the weights, and its origin."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tune_brain.config import ARCHITECTURES, MOST_NETWORKS, Frozen

FORMAT = 3
ABOUT = "bundle.json"
SIMILAR = "similar.safetensors"
CARD = "MODEL_CARD.md"


Temperature = Annotated[float, Field(ge=0.01, le=100)]
"""Calibration yields .05 to 20; far outside that range, probabilities overflow to NaN."""


class Member(Frozen):
    """One trained network of a bundle."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    """Its weights are in weights/<name>.safetensors."""
    arch: Literal[ARCHITECTURES]  # type: ignore[valid-type]
    temperature: Temperature
    weight: float = Field(ge=0, le=1)


class Reference(Frozen):
    """Feature distribution of the training images, and the distance from it at which an image is foreign."""

    mean: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    max_distance: float
    false_rejections: float
    """Share of the validation images that are farther than `max_distance`."""


class Abstention(Frozen):
    """The confidence below which a bundle abstains, and what that means on validation."""

    min_confidence: float
    error_rate: float
    """The error rate allowed among answered validation images when `min_confidence` was chosen."""
    answered: float
    """Share of the validation images answered, with those beyond `Reference.max_distance` unanswered."""
    errors: float | None
    """Error rate among those; None if none was answered."""
    n: int
    """Validation images."""

    @property
    def never_sure(self) -> str:
        """Why the bundle abstains on every image, in a sentence; empty if it does not."""
        if self.min_confidence <= 1:
            return ""
        return (
            f"This bundle is never sure: its {self.n} validation images cannot support answers of which at "
            f"most {100 * self.error_rate:g} % are wrong."
        )


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
    """Applied to the mean of the calibrated members; 1 for a single member."""
    embedding: str
    """The member whose embeddings are used to find similar training images."""
    ood: Reference
    abstention: Abstention
    calibration: dict[str, Any]
    """Calibration error and log loss on validation, before and after calibration."""
    scores: dict[str, Any]
    """Scores on the official and the unseen test, as in the run's scores.json."""
    data: dict[str, Any]
    """Digest of the images, seed of their split, counts by part and class; no file names."""
    versions: dict[str, Any]
    weights_started_from: str
    note: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) != len(names) or self.embedding not in names:
            raise ValueError("member names must be unique, and `embedding` must be one of them")
        if abs(sum(member.weight for member in self.members) - 1) > 1e-6:
            raise ValueError("the weights of the members must add up to 1")
        if any(len(row) != len(self.ood.mean) for row in (self.ood.precision, *self.ood.precision)):
            raise ValueError("ood.precision must be square, with the length of ood.mean")
        return self


def weights_file(member: str) -> str:
    """Path of a member's weights, relative to the bundle's folder."""
    return f"weights/{member}.safetensors"
