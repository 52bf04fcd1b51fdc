"""The page of an audit: one HTML file that needs nothing else, to look at a data set before it is used."""

import base64
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from tune_brain.config import Hyperparameters, RunConfig
from tune_brain.data.audit import Audit
from tune_brain.data.catalogue import named_of
from tune_brain.data.destination import writing
from tune_brain.data.findings import KINDS, beat, count, elsewhere, rest, same_origin, validated
from tune_brain.data.samples import MODEL
from tune_brain.data.shapes import bands
from tune_brain.data.shift import STATISTICS
from tune_brain.data.similarity import TWINS
from tune_brain.records import as_json, write_text
from tune_brain.report import formatting, style
from tune_brain.report.page import environment
from tune_brain.text import counted

Facts = dict[str, Any]

COLOURS = {"train": style.SHORTER, "validation": "#7fb0dc", "test": style.FULL}
TICKS = (0.0, 0.5, 0.9, 0.95, 0.99, TWINS, 0.999, 0.9995, 1.0)
"""Correlations that are written below their histogram."""


def write_audit(found: Audit, folder: Path) -> tuple[Path, Path]:
    """Write audit.json and audit.html; returns their paths.

    Raises:
        ConfigError: the folder cannot be written.
    """
    facts, page = folder / "audit.json", folder / "audit.html"
    html = environment().get_template("explore.html").render(_values(found))
    with writing(folder):
        write_text(facts, as_json(found.facts))
        write_text(page, html)
    return facts, page


def _values(found: Audit) -> dict[str, Any]:
    """All that the template shows."""
    facts, pictures = found.facts, found.pictures()
    tested = "test" in facts["counts"]
    return {
        "facts": facts,
        "formatting": formatting,
        "kinds": KINDS,
        "counted": counted,
        "looks": list(STATISTICS),
        "threshold": TWINS,
        "model": MODEL,
        "rotation": Hyperparameters.model_fields["rotation"].default,
        "default_side": RunConfig.model_fields["image_size"].default,
        "rest": rest(facts),
        "titles": _titles(facts),
        "files": list(_files(facts)),
        "samples": _by_class(facts, pictures.samples),
        "means": _by_class(facts, pictures.means),
        "pairs": [
            {**pair, "picture": _uri(both)} for pair, both in zip(facts["pairs"], pictures.pairs, strict=True)
        ],
        "resizing": list(_resizing(facts)),
        "measured": list(_measured(facts)),
        "counts": _counts(facts),
        "sizes": _sizes(facts["dimensions"]),
        "aspects": _aspects(facts["aspects"]),
        "greys": {name: _greys(facts, name) for name in facts["classes"]},
        "nearest": _nearest(facts) if tested else None,
    }


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _by_class(facts: Facts, shown: tuple[dict[str, bytes], ...]) -> list[tuple[str, dict[str, str]]]:
    return [
        (name, {what: _uri(jpeg) for what, jpeg in one.items()})
        for name, one in zip(facts["classes"], shown, strict=True)
    ]


def _titles(facts: Facts) -> dict[str, str]:
    """What each section has found."""
    totals = {name: sum(part[name] for part in facts["counts"].values()) for name in facts["classes"]}
    most, least = max(totals, key=lambda name: totals[name]), min(totals, key=lambda name: totals[name])
    twins, leaked = facts["twins"]["any"], facts["twins"]["any"]["leaked"]
    sizes, across = facts["resizing"]["sizes"], twins["across"]
    broken = count(facts["files"]["unreadable"])
    apart = list(elsewhere(facts))
    return {
        "counts": f"{most} has {totals[most] / totals[least]:.1f} images for each one of {least}",
        "twins": f"{counted(leaked, 'test image stands', 'test images stand')} in {rest(facts)} too"
        if leaked
        else validated(facts).rstrip(".")
        if across
        else f"{twins['images']:,} images are twins, none of them across the parts",
        "nearest": beat(facts) if facts["floor"] else "There is no test part to compare with training",
        "origin": apart[0] if apart else same_origin(facts),
        "sizes": "All images have one size" if sizes == 1 else f"Images come in {sizes:,} sizes",
        "files": f"{counted(broken, 'file', 'files')} cannot be read"
        if broken
        else "Every image file can be read",
    }


def _files(facts: Facts) -> Iterator[dict[str, Any]]:
    labels = {
        "unreadable": "left out: unreadable",
        "left_out": "left out",
        "odd": "read, but odd",
    }
    for group, label in labels.items():
        for kind, found in facts["files"][group].items():
            yield {"what": label, "kind": kind, "n": found["n"], "names": named_of(found)}


def _resizing(facts: Facts) -> Iterator[str]:
    """What cropping to the centre and resizing do to the images, in sentences."""
    cut, n = facts["resizing"]["cut"], facts["files"]["readable"]
    yield (
        f"The search keeps the centre square: {cut['mean']:.1%} of an image is lost on average, "
        f"{cut['most']:.0%} at most."
    )
    for side, found in facts["resizing"]["sides"].items():
        enlarged, kept, shrunk = (found[key] / n for key in ("enlarged", "kept", "shrunk"))
        yield (
            f"At {side} px, {enlarged:.1%} of the images are enlarged, {kept:.1%} stay as they are and "
            f"{shrunk:.1%} are shrunk."
        )
    if (listed := sum(n for *_, n in facts["dimensions"])) < n:
        yield f"The commonest sizes are drawn, those of {listed:,} of {n:,} images."


def _measured(facts: Facts) -> Iterator[dict[str, Any]]:
    """By class and part the quartiles of what is measured of the images; of pixels, the root."""
    for name in facts["classes"]:
        for part, by_class in facts["counts"].items():
            found = facts["looks"][part][name]
            yield {
                "class": name,
                "part": part,
                "n": by_class[name],
                "brightness": _quartiles(found["brightness"], ".0f"),
                "contrast": _quartiles(found["contrast"], ".0f"),
                "background": _quartiles(found["background"], ".0%"),
                "side": _quartiles([pixels**0.5 for pixels in found["pixels"]], ",.0f"),
                "aspect": _quartiles(found["aspect"], ".2f"),
            }


def _quartiles(values: list[float], form: str) -> str:
    """The median, and between which two values the middle half lies."""
    low, middle, high = (format(value, form) for value in values)
    return f"{middle} [{low}, {high}]"


def _counts(facts: Facts) -> go.Figure:
    figure = style.figure(height=90 + 40 * len(facts["classes"]))
    names = [style.text(name) for name in facts["classes"]]
    for part, by_class in facts["counts"].items():
        figure.add_bar(
            name=part,
            y=list(range(len(names))),
            x=list(by_class.values()),
            orientation="h",
            marker={"color": COLOURS[part]},
            hovertemplate=f"{part}: %{{x:,}}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.35, showlegend=True, legend={"orientation": "h"})
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, autorange="reversed", showgrid=False
    )
    return figure


def _sizes(dimensions: list[list[Any]]) -> go.Figure:
    """Width against height, a dot for each size, its area by how many images have it."""
    figure = style.figure(height=340)
    largest = max(n for *_, n in dimensions)
    for part, colour in COLOURS.items():
        own = [(width, height, n) for of, width, height, n in dimensions if of == part]
        if own:
            figure.add_scatter(
                name=part,
                x=[width for width, _, _ in own],
                y=[height for _, height, _ in own],
                mode="markers",
                marker={
                    "color": colour,
                    "opacity": 0.6,
                    "size": [round(5 + 25 * (n / largest) ** 0.5, 1) for *_, n in own],
                },
                customdata=[n for *_, n in own],
                hovertemplate=f"{part}: %{{x}} x %{{y}}, %{{customdata:,}} images<extra></extra>",
            )
    figure.update_layout(showlegend=True, legend={"orientation": "h"})
    figure.update_xaxes(title_text="width, pixels")
    figure.update_yaxes(title_text="height, pixels")
    return figure


def _aspects(aspects: dict[str, list[int]]) -> go.Figure:
    """How many images are how much wider than high."""
    figure = style.figure(height=340)
    for part, counts in aspects.items():
        figure.add_bar(name=part, x=bands(), y=counts, marker={"color": COLOURS[part]})
    figure.update_layout(barmode="stack", bargap=0.1)
    figure.update_xaxes(title_text="width / height", showgrid=False, type="category")
    figure.update_yaxes(title_text="images")
    return figure


def _greys(facts: Facts, name: str) -> go.Figure:
    """The mean histogram of greys of a class, a line for each part."""
    figure = style.figure(height=200)
    for part, by_class in facts["looks"].items():
        if part in COLOURS:
            figure.add_scatter(
                name=part,
                x=list(range(0, 256, 4)),
                y=by_class[name]["greys"],
                mode="lines",
                line={"color": COLOURS[part], "width": 2},
                hovertemplate=f"{part}, grey %{{x}}: %{{y:.2%}}<extra></extra>",
            )
    # Background would press all else to the floor.
    highest = max(
        max(by_class[name]["greys"][6:]) for part, by_class in facts["looks"].items() if part in COLOURS
    )
    figure.update_xaxes(title_text="grey")
    figure.update_yaxes(title_text="share of pixels", tickformat=".0%", range=[0, 1.3 * highest])
    return figure


def _nearest(facts: Facts) -> go.Figure:
    """How alike each image is to its likest image outside the test, with the threshold of twins.

    All steps are drawn equally wide, though they thin out towards 1: what lies about the threshold would fall
    into one bar.
    """
    nearest, figure = facts["nearest"], style.figure(height=320)
    edges = nearest["edges"]
    steps = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    for part, label in (("train", f"images of {rest(facts)}, a sample"), ("test", "test images")):
        total = sum(nearest[part]) or 1
        figure.add_bar(
            name=label,
            x=[step + 0.5 for step in range(len(steps))],
            y=[n / total for n in nearest[part]],
            customdata=steps,
            marker={"color": COLOURS[part], "opacity": 0.75},
            hovertemplate=f"{label}, %{{customdata}}: %{{y:.1%}}<extra></extra>",
        )
    figure.add_vline(x=edges.index(TWINS), line={"color": style.WINNER, "width": 2, "dash": "dot"})
    figure.update_layout(barmode="overlay", bargap=0.05, showlegend=True, legend={"orientation": "h"})
    first = next(i for i, both in enumerate(zip(nearest["train"], nearest["test"], strict=True)) if any(both))
    figure.update_xaxes(
        title_text="correlation with the likest other image",
        tickvals=[edges.index(tick) for tick in TICKS],
        ticktext=[f"{tick:g}" for tick in TICKS],
        range=[first - 0.5, len(steps) + 0.5],
        showgrid=False,
    )
    figure.update_yaxes(title_text="share of images", tickformat=".0%")
    return figure
