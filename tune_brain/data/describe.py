"""Describe a prepared data set in a few lines."""

from collections.abc import Iterator, Mapping
from typing import Any

from tune_brain.data.left_out import first_names
from tune_brain.data.patients import PATIENTS
from tune_brain.data.series import BLOCK
from tune_brain.text import counted


def describe(summary: dict[str, Any]) -> Iterator[str]:
    """Describe a prepared data set, given its summary, in lines for the terminal."""
    counts = {part: sum(by_class.values()) for part, by_class in summary["counts"].items()}
    official, unseen = sum(summary["official"].values()), sum(summary["unseen"].values())
    trained, validated = counts["train"], counts["validation"]
    yield f"{len(summary['classes'])} classes: {', '.join(summary['classes'])}"
    yield f"{trained} training, {validated} validation and {official} test images; the test is sealed"
    yield from about_split(summary)
    if unseen < official:
        have = "has" if official - unseen == 1 else "have"
        twin = "a twin or another slice of their patient" if summary["patients"]["across"] else "a twin"
        yield f"{official - unseen} of {official} test images {have} {twin} outside the test: {unseen} unseen"
    if dropped := summary["dropped"]:
        images = counted(dropped, "training image", "training images")
        twin = "a twin or their patient" if summary["patients"]["images"] else "a twin"
        yield f"{images} left out for {twin} in validation, or in a test part that was split off"
    if sources := summary.get("sources"):
        yield "combined from " + ", ".join(f"{name} ({n:,} images)" for name, n in sources.items())
    if leaked := summary.get("allowed_leak"):
        images = counted(leaked, "training or validation image has", "training or validation images have")
        yield f"{images} a twin in the test, admitted by --allow-leak: scores are inflated"
    for reason, group in summary["left_out"].items():
        yield f"left out, {reason}: {group['n']} ({first_names(group)})"


def about_split(summary: Mapping[str, Any]) -> Iterator[str]:
    """Say whose images were kept together where parts were split off, and what is wrong with those parts.

    Args:
        summary: of a prepared data set; records of earlier versions lack some of its keys.
    """
    if (patients := summary.get("patients")) and patients["images"]:
        unknown = f" and not those of {patients['unlisted']}" if patients["unlisted"] else ""
        yield (
            f"{PATIENTS} names {counted(patients['known'], 'patient', 'patients')} of {patients['images']} "
            f"images{unknown}: the images of a patient were kept together where parts were split off"
        )
    for part in ("test", "validation"):
        if uneven := [entry for entry in summary.get("uneven", ()) if entry["part"] == part]:
            shares = ", ".join(f"{entry['images']} of {entry['of']} {entry['class']}" for entry in uneven)
            asked = f"{uneven[0]['asked']:.0%} of each class"
            yield f"{part} has {shares} images, not {asked}: too few groups of related images"
    if parted := summary.get("parted"):
        yield (
            f"{', '.join(parted)}: too few images for blocks of {BLOCK} neighbouring files; in smaller ones "
            "more slices have a neighbour on the other side: scores on parts split off are optimistic"
        )
