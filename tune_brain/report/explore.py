"""The page of an audit: one HTML file that needs nothing else, to look at a data set before it is used."""

import base64
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from tune_brain.data.audit import Audit
from tune_brain.data.findings import KINDS, beat, count, elsewhere
from tune_brain.data.likeness import TWINS
from tune_brain.data.origins import LOOKS
from tune_brain.data.samples import MODEL
from tune_brain.records import write_json, write_text
from tune_brain.report import style, words
from tune_brain.report.page import environment

Facts = dict[str, Any]

COLOURS = {"train": style.SHORTER, "validation": "#7fb0dc", "test": style.FULL}
PRETRAINED = 224
"""Side of the images that pretrained networks were made for, in pixels."""


def write_audit(found: Audit, folder: Path) -> tuple[Path, Path]:
    """Write audit.json and audit.html; returns their paths."""
    facts, page = folder / "audit.json", folder / "audit.html"
    write_json(facts, found.facts)
    write_text(page, environment().get_template("explore.html").render(_values(found)))
    return facts, page


def _values(found: Audit) -> dict[str, Any]:
    """All that the template shows."""
    facts, pictures = found.facts, found.pictures()
    tested = "test" in facts["counts"]
    return {
        "facts": facts,
        "words": words,
        "kinds": KINDS,
        "looks": list(LOOKS),
        "threshold": TWINS,
        "model": MODEL,
        "titles": _titles(facts),
        "files": list(_files(facts)),
        "samples": _by_class(facts, pictures.samples),
        "means": _by_class(facts, pictures.means),
        "pairs": [
            {**pair, "picture": _uri(both)} for pair, both in zip(facts["pairs"], pictures.pairs, strict=True)
        ],
        "resizing": _resizing(facts["dimensions"]),
        "counts": _counts(facts),
        "sizes": _sizes(facts["dimensions"]),
        "aspects": _aspects(facts["dimensions"]),
        "greys": {name: _greys(facts, name) for name in facts["classes"]},
        "nearest": _nearest(facts["nearest"]) if tested else None,
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
    sizes = {(width, height) for _, width, height, _ in facts["dimensions"]}
    broken = count(facts["files"]["unreadable"])
    apart = list(elsewhere(facts))
    return {
        "counts": f"{most} has {totals[most] / totals[least]:.1f} images for each one of {least}",
        "twins": f"{leaked:,} test images stand in training too"
        if leaked
        else f"{twins['images']:,} images are twins, none of them across the parts",
        "nearest": beat(facts) if facts["floor"] else "There is no test part to compare with training",
        "origin": apart[0] if apart else "No class has test images that look unlike its others",
        "sizes": "All images have one size" if len(sizes) == 1 else f"Images come in {len(sizes):,} sizes",
        "files": f"{broken:,} files cannot be read" if broken else "Every image file can be read",
    }


def _files(facts: Facts) -> Iterator[dict[str, Any]]:
    labels = {
        "unreadable": "left out: unreadable",
        "left_out": "left out",
        "odd": "read, but odd",
    }
    for group, label in labels.items():
        for kind, found in facts["files"][group].items():
            more = ", ..." if found["n"] > len(found["names"]) else ""
            yield {"what": label, "kind": kind, "n": found["n"], "names": ", ".join(found["names"]) + more}


def _resizing(dimensions: list[list[Any]]) -> list[str]:
    """What cropping to the centre and resizing do to the images, in sentences."""
    total = sum(n for *_, n in dimensions)
    cut = sum(n * (1 - min(width, height) / max(width, height)) for _, width, height, n in dimensions) / total
    worst = max(1 - min(width, height) / max(width, height) for _, width, height, _ in dimensions)
    said = [
        f"The search keeps the centre square: {cut:.1%} of an image is lost on average, {worst:.0%} at most."
    ]
    for side in (MODEL, PRETRAINED):
        up = sum(n for _, width, height, n in dimensions if min(width, height) < side) / total
        said.append(f"At {side} px, {up:.1%} of the images are enlarged and the rest shrunk.")
    return said


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


def _aspects(dimensions: list[list[Any]]) -> go.Figure:
    """How many images are how much wider than high."""
    edges = [0.0, 0.5, 0.7, 0.8, 0.9, 0.97, 1.03, 1.1, 1.25, 1.4, 2.0, float("inf")]
    labels = [
        "< 0.5",
        *(f"{low:g}-{high:g}" for low, high in pairwise(edges[1:-1])),
        "> 2",
    ]
    figure = style.figure(height=340)
    for part, colour in COLOURS.items():
        counts = [0] * len(labels)
        for of, width, height, n in dimensions:
            if of == part:
                counts[sum(width / height >= edge for edge in edges[1:-1])] += n
        if any(counts):
            figure.add_bar(name=part, x=labels, y=counts, marker={"color": colour})
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


def _nearest(nearest: Facts) -> go.Figure:
    """How alike each image is to its likest training image, with the threshold of twins."""
    figure = style.figure(height=320)
    middle = [(low + high) / 2 for low, high in pairwise(nearest["edges"])]
    for part, label in (("train", "training images, a sample"), ("test", "test images")):
        total = sum(nearest[part]) or 1
        figure.add_bar(
            name=label,
            x=middle,
            y=[n / total for n in nearest[part]],
            marker={"color": COLOURS[part], "opacity": 0.75},
            hovertemplate=f"{label}, %{{x:.3f}}: %{{y:.1%}}<extra></extra>",
        )
    figure.add_vline(x=TWINS, line={"color": style.WINNER, "width": 2, "dash": "dot"})
    figure.update_layout(barmode="overlay", bargap=0.05, showlegend=True, legend={"orientation": "h"})
    low = next((x for x, a, b in zip(middle, nearest["train"], nearest["test"], strict=True) if a or b), 0.0)
    figure.update_xaxes(
        title_text="correlation with the likest other training image", range=[low - 0.02, 1.01]
    )
    figure.update_yaxes(title_text="share of images", tickformat=".0%")
    return figure
