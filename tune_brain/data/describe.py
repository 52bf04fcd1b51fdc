"""What was found in an image folder, in a few lines."""

from collections.abc import Iterator
from typing import Any

from tune_brain.data.catalogue import named_of
from tune_brain.text import counted


def describe(summary: dict[str, Any]) -> Iterator[str]:
    """Lines for a person from the summary of a prepared data set."""
    counts = {part: sum(by_class.values()) for part, by_class in summary["counts"].items()}
    official, unseen = sum(summary["official"].values()), sum(summary["unseen"].values())
    trained, validated = counts["train"], counts["validation"]
    yield f"{len(summary['classes'])} classes: {', '.join(summary['classes'])}"
    yield f"{trained} images to train, {validated} to validate, {official} to test, which are sealed"
    if unseen < official:
        have = "has" if official - unseen == 1 else "have"
        yield f"{official - unseen} of the {official} test images {have} a twin outside it: {unseen} unseen"
    if dropped := summary["dropped"]:
        told = counted(dropped, "training image", "training images")
        yield f"{told} left out for a twin in validation, or in a test that was cut off"
    if sources := summary.get("sources"):
        yield "combined from " + ", ".join(f"{name} ({n:,} images)" for name, n in sources.items())
    if leaked := summary.get("allowed_leak"):
        told = counted(leaked, "image outside the test has", "images outside the test have")
        yield f"{told} a twin in it, let in by --allow-leak: scores flatter"
    for reason, left in summary["left_out"].items():
        yield f"left out, {reason}: {left['n']} ({named_of(left)})"
