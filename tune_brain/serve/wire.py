"""The JSON that the service returns, as models from which its OpenAPI description is made."""

import base64
import io
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field

from tune_brain.array_types import Bytes, Float32s
from tune_brain.serve.answers import NOTICE, Answer, Share, in_words

HEAT = (217, 72, 15)
"""Colour of the heat map; hotter pixels are more opaque."""


class Frame(Answer):
    """The prediction for one picture of the file."""

    number: int
    of: int
    similar_in_words: str
    image: str = Field(description="PNG as a data URI")
    heat: str | None = Field(
        description="PNG with transparency as a data URI; null if there is nothing to show"
    )


class Tested(BaseModel):
    """How often the bundle was right on all the test images that it was sure enough to answer."""

    part: Literal["unseen", "official"] = Field(
        description="unseen: test images without a twin in training; official: all, if none of those was sure"
    )
    n: int = Field(ge=1)
    accuracy: Share


class Prediction(BaseModel):
    """The response to one file."""

    bundle: str
    fingerprint: str
    image_size: int = Field(description="side of the square that the networks see, in pixels")
    tested: Tested | None = Field(description="null if unknown, or if no test image was answered")
    notice: str = NOTICE
    frames: list[Frame]


class Health(BaseModel):
    """The bundle with which the service answers."""

    status: str = "ok"
    bundle: str
    classes: list[str]
    members: int
    fingerprint: str
    tested: Tested | None
    body_seconds: float = Field(description="seconds for which the service waits for a body at least")


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


def frame(number: int, of: int, shown: Bytes, answer: Answer, heat: Float32s | None) -> Frame:
    """A prediction with its picture and heat map as PNG."""
    return Frame(
        **dict(answer),
        number=number,
        of=of,
        similar_in_words=in_words(answer.similar),
        image=_uri(Image.fromarray(shown)),
        heat=None if heat is None else _uri(_painted(heat)),
    )


def tested(scores: Mapping[str, Any]) -> Tested | None:
    """The accuracy of a bundle's sure answers on the unseen test; on the official one if it had none there.

    Args:
        scores: those of bundle.json, which may lack anything.
    """
    try:
        for part in ("unseen", "official"):
            answered = scores[part]["answered"]
            if answered["n"]:
                return Tested(part=part, n=answered["n"], accuracy=answered["accuracy"])
    except (KeyError, TypeError, ValueError):
        pass
    return None


def _painted(heat: Float32s) -> Image.Image:
    colour = np.empty((*heat.shape, 4), np.uint8)
    colour[..., :3] = HEAT
    colour[..., 3] = np.rint(heat * 255)
    return Image.fromarray(colour, "RGBA")


def _uri(image: Image.Image) -> str:
    file = io.BytesIO()
    # Higher compression levels take longer than the network does.
    image.save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
