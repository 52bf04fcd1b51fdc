"""The page of an audit: one self-contained HTML file, for inspecting a data set before it is used."""

import base64
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from tune_brain.config import Hyperparameters, RunConfig
from tune_brain.data.audit import Audit
from tune_brain.data.findings import (
    KINDS,
    RULES,
    floor_sentence,
    no_shift_sentence,
    other_parts,
    shift_sentences,
    twins_across_sentence,
)
from tune_brain.data.left_out import first_names, number_of_files
from tune_brain.data.samples import MODEL
from tune_brain.data.shapes import bands
from tune_brain.data.shift import STATISTICS
from tune_brain.data.similarity import TWINS
from tune_brain.files import as_json, write_text, writing_output
from tune_brain.report import formatting, style
from tune_brain.report.page import environment
from tune_brain.text import counted

Facts = dict[str, Any]

COLOURS = {"train": style.SHORTER, "validation": "#009e73", "test": style.FULL}
DASHES = {"train": "2px,4px", "validation": "9px,4px", "test": "solid"}
TICKS = (0.0, 0.5, 0.9, 0.95, 0.99, TWINS, 0.999, 0.9995, 1.0)
"""Tick labels of the histogram of correlations."""


def write_audit(audit: Audit, folder: Path) -> tuple[Path, Path]:
    """Write audit.json and audit.html and return their paths.

    Args:
        audit: the audit of a data set.
        folder: the folder for both files; it is created if missing.

    Raises:
        ConfigError: the folder cannot be written.
    """
    facts, page = folder / "audit.json", folder / "audit.html"
    html = environment().get_template("explore.html").render(_values(audit))
    with writing_output(folder):
        write_text(facts, as_json(audit.facts))
        write_text(page, html)
    return facts, page


def _values(audit: Audit) -> dict[str, Any]:
    """Values of the template."""
    facts, pictures = audit.facts, audit.pictures()
    tested = "test" in facts["counts"]
    return {
        "facts": facts,
        "formatting": formatting,
        "kinds": KINDS,
        "rules": RULES,
        "counted": counted,
        "looks": list(STATISTICS),
        "threshold": TWINS,
        "model": MODEL,
        "rotation": Hyperparameters.model_fields["rotation"].default,
        "default_side": RunConfig.model_fields["image_size"].default,
        "rest": other_parts(facts),
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
        "part_lines": {
            part: {"color": COLOURS[part], "dash": DASHES[part]} for part in facts["looks"] if part in COLOURS
        },
        "nearest": _nearest(facts) if tested else None,
    }


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _by_class(facts: Facts, shown: tuple[dict[str, bytes], ...]) -> list[tuple[str, dict[str, str]]]:
    return [
        (name, {kind: _uri(jpeg) for kind, jpeg in pictures.items()})
        for name, pictures in zip(facts["classes"], shown, strict=True)
    ]


def _titles(facts: Facts) -> dict[str, str]:
    """A heading for each section that states its main finding."""
    totals = {name: sum(part[name] for part in facts["counts"].values()) for name in facts["classes"]}
    most, least = max(totals, key=lambda name: totals[name]), min(totals, key=lambda name: totals[name])
    twins, leaked = facts["twins"]["any"], facts["twins"]["any"]["leaked"]
    sizes, across = facts["resizing"]["sizes"], twins["across"]
    broken = number_of_files(facts["files"]["unreadable"])
    shifted = list(shift_sentences(facts))
    return {
        "counts": f"{most} has {totals[most] / totals[least]:.1f} times as many images as {least}"
        if totals[most] > totals[least]
        else f"Every class has {totals[most]:,} images",
        "twins": f"{counted(leaked, 'test image is', 'test images are')} also in {other_parts(facts)}"
        if leaked
        else twins_across_sentence(facts).rstrip(".")
        if across
        else f"{twins['images']:,} images are twins, none of them across the parts",
        "nearest": floor_sentence(facts)
        if facts["floor"]
        else "There is no test part to compare with training",
        "origin": shifted[0] if shifted else no_shift_sentence(facts),
        "sizes": "All images have the same size" if sizes == 1 else f"Images come in {sizes:,} sizes",
        "files": f"{counted(broken, 'file', 'files')} cannot be read"
        if broken
        else "Every image file can be read",
    }


def _files(facts: Facts) -> Iterator[dict[str, Any]]:
    """Files that were left out or have a peculiarity, by kind."""
    labels = {
        "unreadable": "left out: unreadable",
        "left_out": "left out",
        "odd": "read, but odd",
    }
    for group, label in labels.items():
        for kind, files in facts["files"][group].items():
            yield {"what": label, "kind": kind, "n": files["n"], "names": first_names(files)}


def _resizing(facts: Facts) -> Iterator[str]:
    """What cropping to the centre and resizing do to the images, in sentences."""
    cut, n = facts["resizing"]["cut"], facts["files"]["readable"]
    yield (
        f"The search crops each image to its central square: {cut['mean']:.1%} of an image is lost on "
        f"average, {cut['most']:.0%} at most."
    )
    for side, counts in facts["resizing"]["sides"].items():
        enlarged, unchanged, shrunk = (counts[key] / n for key in ("enlarged", "kept", "shrunk"))
        yield (
            f"At {side} px, {enlarged:.1%} of the images are enlarged, {unchanged:.1%} keep their size and "
            f"{shrunk:.1%} are shrunk."
        )
    if (drawn := sum(n for *_, n in facts["dimensions"])) < n:
        yield f"Only the most frequent sizes are drawn: those of {drawn:,} of {n:,} images."


def _measured(facts: Facts) -> Iterator[dict[str, Any]]:
    """Quartiles of the images' statistics by class and part; of the pixel count, its square root."""
    for name in facts["classes"]:
        for part, by_class in facts["counts"].items():
            statistics = facts["looks"][part][name]
            yield {
                "class": name,
                "part": part,
                "n": by_class[name],
                "brightness": _quartiles(statistics["brightness"], ".0f"),
                "contrast": _quartiles(statistics["contrast"], ".0f"),
                "background": _quartiles(statistics["background"], ".0%"),
                "side": _quartiles([pixels**0.5 for pixels in statistics["pixels"]], ",.0f"),
                "aspect": _quartiles(statistics["aspect"], ".2f"),
            }


def _quartiles(values: list[float], form: str) -> str:
    """Three quartiles as `median [lower, upper]`."""
    low, median, high = (format(value, form) for value in values)
    return f"{median} [{low}, {high}]"


def _counts(facts: Facts) -> go.Figure:
    figure = style.figure(height=90 + 40 * len(facts["classes"]))
    names = style.labels(facts["classes"])
    for part, by_class in facts["counts"].items():
        figure.add_bar(
            name=part,
            y=list(range(len(names))),
            x=list(by_class.values()),
            orientation="h",
            marker={"color": COLOURS[part]},
            hovertemplate=f"{part}: %{{x:,}}<extra></extra>",
        )
    figure.update_layout(**style.LEGEND, barmode="stack", bargap=0.35)
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, autorange="reversed", showgrid=False
    )
    return figure


def _sizes(dimensions: list[list[Any]]) -> go.Figure:
    """Width against height, one dot per size, whose area grows with the number of images of that size."""
    figure = style.figure(height=340)
    largest = max(n for *_, n in dimensions)
    for part, colour in COLOURS.items():
        sizes = [(width, height, n) for of_part, width, height, n in dimensions if of_part == part]
        if sizes:
            figure.add_scatter(
                name=part,
                x=[width for width, _, _ in sizes],
                y=[height for _, height, _ in sizes],
                mode="markers",
                marker={
                    "color": colour,
                    "opacity": 0.6,
                    "size": [round(5 + 25 * (n / largest) ** 0.5, 1) for *_, n in sizes],
                },
                customdata=[n for *_, n in sizes],
                hovertemplate=f"{part}: %{{x}} x %{{y}}, %{{customdata:,}} images<extra></extra>",
            )
    figure.update_layout(**style.LEGEND)
    figure.update_xaxes(title_text="width, pixels")
    figure.update_yaxes(title_text="height, pixels")
    return figure


def _aspects(aspects: dict[str, list[int]]) -> go.Figure:
    """Number of images by aspect ratio (width over height)."""
    figure = style.figure(height=340)
    for part, counts in aspects.items():
        figure.add_bar(name=part, x=bands(), y=counts, marker={"color": COLOURS[part]})
    figure.update_layout(**style.LEGEND, legend_y=-0.25, barmode="stack", bargap=0.1)
    figure.update_xaxes(title_text="width / height", showgrid=False, type="category")
    figure.update_yaxes(title_text="images")
    return figure


def _greys(facts: Facts, name: str) -> go.Figure:
    """The mean histogram of grey levels of a class, one line per part."""
    figure = style.figure(height=200)
    for part, by_class in facts["looks"].items():
        if part in COLOURS:
            figure.add_scatter(
                name=part,
                x=list(range(0, 256, 4)),
                y=by_class[name]["greys"],
                mode="lines",
                line={"color": COLOURS[part], "dash": DASHES[part], "width": 2},
                hovertemplate=f"{part}, grey %{{x}}: %{{y:.2%}}<extra></extra>",
            )
    # The scale ignores the darkest levels: the black background would flatten everything else.
    highest = max(
        max(by_class[name]["greys"][6:]) for part, by_class in facts["looks"].items() if part in COLOURS
    )
    figure.update_xaxes(title_text="grey level")
    figure.update_yaxes(title_text="share of pixels", tickformat=".0%", range=[0, 1.3 * highest])
    return figure


def _nearest(facts: Facts) -> go.Figure:
    """Histogram of each image's correlation with the most similar other image outside the test part.

    A line marks the threshold for twins. The bins get narrower towards 1 but are drawn equally wide;
    otherwise everything near the threshold would fall into one bar.
    """
    nearest, figure = facts["nearest"], style.figure(height=320)
    edges = nearest["edges"]
    bins = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    for part, label in (("train", f"{other_parts(facts)} images, a sample"), ("test", "test images")):
        total = sum(nearest[part]) or 1
        figure.add_bar(
            name=label,
            x=[place + 0.5 for place in range(len(bins))],
            y=[n / total for n in nearest[part]],
            customdata=bins,
            marker={"color": COLOURS[part], "opacity": 0.75},
            hovertemplate=f"{label}, %{{customdata}}: %{{y:.1%}}<extra></extra>",
        )
    figure.add_vline(x=edges.index(TWINS), line={"color": style.WINNER, "width": 2, "dash": "dot"})
    figure.update_layout(**style.LEGEND, barmode="overlay", bargap=0.05)
    first = next(i for i, both in enumerate(zip(nearest["train"], nearest["test"], strict=True)) if any(both))
    figure.update_xaxes(
        title_text="correlation with the most similar other image",
        tickvals=[edges.index(tick) for tick in TICKS],
        ticktext=[f"{tick:g}" for tick in TICKS],
        range=[first - 0.5, len(bins) + 0.5],
        showgrid=False,
    )
    figure.update_yaxes(title_text="share of images", tickformat=".0%")
    return figure
