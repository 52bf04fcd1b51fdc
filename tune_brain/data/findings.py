"""The findings of an audit in words: plain text, which pages must escape."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from tune_brain.data.image_facts import BLACK
from tune_brain.data.left_out import first_names, number_of_files
from tune_brain.data.shift import STATISTICS
from tune_brain.text import counted

Facts = dict[str, Any]

LINES = 3
FEW = 30
"""A class with fewer images outside the test part is small: of 29 images, four are for validation."""
RULES = {"identical": "identical", "alike": "or alike", "mirrored": "or mirrored", "any": "or cropped"}
"""Rules by which images are twins, each wider than the one before, with their names in tables."""
KINDS = {
    "identical": "identical to the last pixel",
    "alike": "the same in another size, quality or light",
    "mirrored": "the same mirrored left to right",
    "cropped": "the same cropped",
}


def summary(facts: Facts) -> list[str]:
    """The most important findings, the most serious first."""
    return [*_faults(facts), *_remarks(facts)][:LINES]


def faults(facts: Facts) -> list[str]:
    """What `--strict` refuses: twins with two labels, and test images or patients that leak into training."""
    return [line for line in (_conflict(facts), _twin_leak(facts), _patient_leak(facts)) if line]


def terminal_lines(facts: Facts) -> Iterator[str]:
    """All facts as short lines for the terminal."""
    counts = facts["counts"]
    total = sum(n for by_class in counts.values() for n in by_class.values())
    yield f"{facts['name']}: {total:,} images in {len(facts['classes'])} classes"
    for part, by_class in counts.items():
        classes = ", ".join(f"{name} {n:,}" for name, n in by_class.items())
        yield f"  {part:<11}{sum(by_class.values()):>7,}  {classes}"
    yield ""
    for number, line in enumerate(facts["summary"], start=1):
        yield f"{number}. {line}"
    yield ""
    yield from _file_lines(facts)
    yield from _twin_lines(facts)
    yield from _floor_lines(facts)


def _faults(facts: Facts) -> Iterator[str]:
    yield from faults(facts)
    if dark := facts["files"]["odd"].get(BLACK):
        yield (
            f"{counted(dark['n'], '16-bit image is', '16-bit images are')} nearly black to a network, since "
            "values are divided by 257: rescale them to all 16 bits first."
        )
    yield from shift_sentences(facts)


def _remarks(facts: Facts) -> Iterator[str]:
    if few := few_images_sentence(facts):
        yield few
    if n := number_of_files(facts["files"]["unreadable"]):
        yield f"{counted(n, 'file', 'files')} cannot be read: {_kinds(facts['files']['unreadable'])}."
    if not facts["twins"]["any"]["leaked"] and facts["twins"]["any"]["across"]:
        yield twins_across_sentence(facts)
    if facts["floor"]:
        yield floor_sentence(facts)
        if not facts["twins"]["any"]["leaked"]:
            yield "No test image has a twin in the other parts."
        if not any(verdict["elsewhere"] for verdict in facts["origin"].values()):
            yield no_shift_sentence(facts)
    else:
        yield "There is no test part: a search splits one off, without twins on both sides."
    if facts["twins"]["any"]["groups"]:
        yield f"{facts['twins']['any']['images']:,} images are twins of others."
    yield f"{facts['files']['readable']:,} images are readable."


def few_images_sentence(facts: Facts) -> str:
    """A sentence that names the classes with few images outside the test part; empty if there is none."""
    outside = [by_class for part, by_class in facts["counts"].items() if part != "test"]
    sizes = {name: sum(by_class[name] for by_class in outside) for name in facts["classes"]}
    few = ", ".join(f"{n} of {name}" for name, n in sorted(sizes.items(), key=itemgetter(1)) if n < FEW)
    uses = "train and validate on" if "test" in facts["counts"] else "train, validate and test on"
    return f"There are few images to {uses}: {few}." if few else ""


def _conflict(facts: Facts) -> str:
    n = facts["twins"]["any"]["conflicts"]
    if not n:
        return ""
    first = facts["conflicts"][0]
    groups = counted(n, "group of twins has", "groups of twins have")
    return f"{groups} two labels, such as {' and '.join(first['names'][:2])}."


def _twin_leak(facts: Facts) -> str:
    twins = facts["twins"]
    n, test = twins["any"]["leaked"], sum(sizes["test"] for sizes in facts["leak"].values())
    if not n:
        return ""
    same, alike, mirrored = (twins[rule]["leaked"] for rule in ("identical", "alike", "mirrored"))
    worst = sorted(facts["leak"].items(), key=lambda item: -item[1]["any"])
    classes = ", ".join(f"{leak['any']} of {leak['test']} {name}" for name, leak in worst if leak["any"])
    return (
        f"{n:,} of {test:,} test images ({n / test:.0%}) {'is' if n == 1 else 'are'} also in "
        f"{other_parts(facts)}: {same:,} identical, {alike - same:,} in another size, quality or brightness, "
        f"{mirrored - alike:,} mirrored, {n - mirrored:,} cropped ({classes})."
    )


def _patient_leak(facts: Facts) -> str:
    n = facts["patients"]["leaked"]
    images = counted(n, "test image shows", "test images show")
    return f"{images} a patient who is also in {other_parts(facts)}." if n else ""


def other_parts(facts: Facts) -> str:
    """The name of the parts other than the test part."""
    return "training or validation" if "validation" in facts["counts"] else "training"


def twins_across_sentence(facts: Facts) -> str:
    """A sentence on the twins that are in both training and validation; for sets whose test part has none."""
    across = facts["twins"]["any"]["across"]
    groups = counted(across, "group of twins is", "groups of twins are")
    return f"{groups} in both training and validation."


def no_shift_sentence(facts: Facts) -> str:
    """A sentence on the classes whose test images resemble the others, and on those too small to judge."""
    by_verdict: dict[bool | None, list[str]] = {False: [], None: []}
    for name, verdict in facts["origin"].items():
        by_verdict[verdict["elsewhere"]].append(name)
    same, undecided = by_verdict[False], by_verdict[None]
    if not same:
        return "Too few unseen test images, or too few series, to tell whether they come from elsewhere."
    subject = f"The test images of {', '.join(same)}" if undecided else "In every class the test images"
    end = f"; {', '.join(undecided)}: too few unseen images or series to tell" if undecided else ""
    return f"{subject} resemble the others in brightness and size{end}."


def shift_sentences(facts: Facts) -> Iterator[str]:
    """A sentence for each class whose test images come from somewhere else, the clearest case first."""
    shifted = [(name, verdict) for name, verdict in facts["origin"].items() if verdict["elsewhere"]]
    other = "a training image" if other_parts(facts) == "training" else f"an image of {other_parts(facts)}"
    for name, verdict in sorted(shifted, key=lambda item: -abs(item[1]["share"] - 0.5)):
        less, more = STATISTICS[verdict["by"]]
        share, difference = (
            (verdict["share"], more) if verdict["share"] >= 0.5 else (1 - verdict["share"], less)
        )
        verb = "has" if difference.endswith("background") else "is"
        yield (
            f"The test images of {name} come from somewhere else: in {share:.0%} of all pairs of an "
            f"unseen test image and {other}, each series weighing alike, the test image {verb} {difference}."
        )


def floor_sentence(facts: Facts) -> str:
    """A sentence on the scores that a model must beat."""
    nearest, majority = (facts["floor"][name] for name in ("nearest_neighbour", "majority"))
    start = (
        f"A model must beat the nearest neighbour on thumbnails, whose accuracy is "
        f"{nearest['official']['accuracy']:.3f} on the test"
    )
    n = nearest["unseen"]["n"]
    if not n:
        return f"{start}; no test image is unseen."
    unseen = counted(n, "unseen image", "unseen images")
    return (
        f"{start} and {nearest['unseen']['accuracy']:.3f} on its {unseen} "
        f"(majority class: {majority['official']['accuracy']:.3f} and "
        f"{majority['unseen']['accuracy']:.3f})."
    )


def _kinds(kinds: dict[str, Any]) -> str:
    return ", ".join(f"{group['n']:,} {kind}" for kind, group in kinds.items())


def _file_lines(facts: Facts) -> Iterator[str]:
    files = facts["files"]
    yield f"files      {files['readable']:,} readable, {files['distinct']:,} of them with distinct contents"
    for name, label in (("unreadable", "unreadable"), ("left_out", "left out"), ("odd", "odd")):
        for kind, group in files[name].items():
            yield f"{label:<11}{group['n']:,} {kind}: {first_names(group)}"


def _twin_lines(facts: Facts) -> Iterator[str]:
    twins = facts["twins"]
    for rule, label in RULES.items():
        counts = twins[rule]
        yield (
            f"twins      {label}: {counted(counts['groups'], 'group', 'groups')} of "
            f"{counts['images']:,} images, {counted(counts['leaked'], 'test image', 'test images')} leaked, "
            f"{counts['conflicts']:,} with two labels"
        )
    yield "pairs      " + ", ".join(f"{n:,} {kind}" for kind, n in twins["pairs"].items())


def _floor_lines(facts: Facts) -> Iterator[str]:
    for name, parts in facts["floor"].items():
        scores = [
            f"{part} {score['accuracy']:.3f} accuracy, {score['macro_f1']:.3f} macro-F1 (n = {score['n']:,})"
            for part, score in parts.items()
            if score["n"]
        ]
        yield f"floor      {name.replace('_', ' ')}: {'; '.join(scores)}"
