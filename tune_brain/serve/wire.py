"""What the service says over the wire, as models that its OpenAPI page shows."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, Field

from tune_brain.serve.answers import Answer, Member, Share, in_words

NOTICE = "Not a medical device. For research and teaching; no decision about a person may rest on it."
HEAT = (217, 72, 15)
"""Colour of the heat map, the hotter the less transparent."""


class Similar(BaseModel):
    """A training image that the network places near this one: its class, not its picture."""

    label: str
    similarity: float


class Frame(BaseModel):
    """What the bundle says of one picture of the file."""

    number: int
    of: int
    label: str
    probability: Share
    probabilities: dict[str, Share]
    words: str
    unsure: bool
    foreign: bool
    advice: str
    members: list[Member]
    agreeing: int
    similar: list[Similar]
    similar_in_words: str
    image: str = Field(description="PNG as a data URI")
    heat: str | None = Field(description="PNG with transparency as a data URI; none without convolutions")


class Prediction(BaseModel):
    """The answer to one file."""

    bundle: str
    fingerprint: str
    notice: str = NOTICE
    frames: list[Frame]


class Health(BaseModel):
    """Whether the service can answer, and with what."""

    status: str = "ok"
    bundle: str
    classes: list[str]
    members: int
    fingerprint: str


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


def frame(number: int, of: int, shown: NDArray[np.uint8], answer: Answer) -> Frame:
    """An answer with its picture and heat map."""
    return Frame(
        number=number,
        of=of,
        label=answer.label,
        probability=answer.probability,
        probabilities=answer.probabilities,
        words=answer.words,
        unsure=answer.unsure,
        foreign=answer.foreign,
        advice=answer.advice,
        members=answer.members,
        agreeing=answer.agreeing,
        similar=[Similar(label=label, similarity=value) for label, value in answer.similar],
        similar_in_words=in_words(answer.similar),
        image=_uri(Image.fromarray(shown)),
        heat=None if answer.heat is None else _uri(_painted(answer.heat)),
    )


def _painted(heat: NDArray[np.float32]) -> Image.Image:
    colour = np.empty((*heat.shape, 4), np.uint8)
    colour[..., :3] = HEAT
    colour[..., 3] = np.rint(heat * 255)
    return Image.fromarray(colour, "RGBA")


def _uri(image: Image.Image) -> str:
    file = io.BytesIO()
    # Level 1: on a picture of this size the others take longer than the network.
    image.save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
