"""Describe a prepared data set in a few lines."""

from collections.abc import Iterator, Mapping
from typing import Any

from tune_brain.data.catalogue import named_of
from tune_brain.data.split import BLOCK
from tune_brain.text import counted


def describe(summary: dict[str, Any]) -> Iterator[str]:
    """Describe a prepared data set, given its summary, in lines for the terminal."""
    counts = {part: sum(by_class.values()) for part, by_class in summary["counts"].items()}
    official, unseen = sum(summary["official"].values()), sum(summary["unseen"].values())
    trained, validated = counts["train"], counts["validation"]
    yield f"{len(summary['classes'])} classes: {', '.join(summary['classes'])}"
    yield f"{trained} training, {validated} validation and {official} test images; the test is sealed"
    yield from split_caveats(summary)
    if unseen < official:
        have = "has" if official - unseen == 1 else "have"
        yield f"{official - unseen} of {official} test images {have} a twin outside the test: {unseen} unseen"
    if dropped := summary["dropped"]:
        images = counted(dropped, "training image", "training images")
        yield f"{images} left out for a twin in validation, or in a test part that was split off"
    if sources := summary.get("sources"):
        yield "combined from " + ", ".join(f"{name} ({n:,} images)" for name, n in sources.items())
    if leaked := summary.get("allowed_leak"):
        images = counted(leaked, "training or validation image has", "training or validation images have")
        yield f"{images} a twin in the test, admitted by --allow-leak: scores are inflated"
    for reason, group in summary["left_out"].items():
        yield f"left out, {reason}: {group['n']} ({named_of(group)})"


def split_caveats(summary: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the parts that were split off: their shares, and neighbours that were parted.

    Args:
        summary: of a prepared data set; without the keys `uneven` and `parted` nothing is said.
    """
    for part in ("test", "validation"):
        if uneven := [entry for entry in summary.get("uneven", ()) if entry["part"] == part]:
            shares = ", ".join(f"{entry['images']} of {entry['of']} {entry['class']}" for entry in uneven)
            asked = f"{uneven[0]['asked']:.0%} of each class"
            yield f"{part} has {shares} images, not {asked}: too few groups of twins and neighbouring files"
    if parted := summary.get("parted"):
        yield (
            f"{', '.join(parted)}: too few images for blocks of {BLOCK} neighbouring files; in smaller ones "
            "more slices have a neighbour on the other side: scores on parts split off are optimistic"
        )
