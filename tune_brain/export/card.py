"""The model card of a bundle: its intended use, data, scores and limits."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tune_brain.bundle.schema import About
from tune_brain.data.describe import about_split
from tune_brain.text import counted, legible


def card(about: About, *, onnx: bool) -> str:
    """Render the card as Markdown, after Mitchell et al., Model Cards for Model Reporting (FAT* 2019).

    Args:
        about: the bundle's description.
        onnx: whether the bundle also holds its networks as ONNX.
    """
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown: `literal` escapes names that users chose
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.globals.update(counted=counted)
    pages.filters.update(score=_score, share=_share, literal=_literal)
    return pages.get_template("card.md").render(
        about=about, about_split=[*about_split(about.data)], onnx=onnx
    )


def _score(measure: Mapping[str, Any]) -> str:
    if measure["mean"] is None:
        return "-"
    text = f"{measure['mean']:.3f}"
    if measure["low"] is not None:
        text += f" [{measure['low']:.3f}, {measure['high']:.3f}]"
    return text if measure["std"] is None else f"{text} ± {measure['std']:.3f}"


def _literal(text: str) -> str:
    """Escape the characters of a name that Markdown or HTML would interpret, even in a table."""
    return re.sub(r"([\\`*_|<>&~\[\]])", r"\\\1", legible(text))


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
