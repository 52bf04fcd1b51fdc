"""What an audit found, in words: plain text, which whoever puts it on a page escapes."""

from collections.abc import Iterator
from typing import Any

from tune_brain.data.catalogue import named_of
from tune_brain.data.image_facts import BLACK
from tune_brain.data.shift import STATISTICS
from tune_brain.text import counted

Facts = dict[str, Any]

LINES = 3
KINDS = {
    "identical": "identical to the last pixel",
    "alike": "the same in another size, quality or light",
    "mirrored": "the same mirrored left to right",
    "cropped": "the same less a margin",
}


def summary(facts: Facts) -> list[str]:
    """The most important lines, the gravest first."""
    return [*_faults(facts), *_remarks(facts)][:LINES]


def faults(facts: Facts) -> list[str]:
    """What `--strict` refuses: conflicts of labels and a test part that leaks into training."""
    return [line for line in (_conflict(facts), _leak(facts)) if line]


def terminal(facts: Facts) -> Iterator[str]:
    """All facts in short lines."""
    counts = facts["counts"]
    total = sum(n for by_class in counts.values() for n in by_class.values())
    yield f"{facts['name']}: {total:,} images in {len(facts['classes'])} classes"
    for part, by_class in counts.items():
        told = ", ".join(f"{name} {n:,}" for name, n in by_class.items())
        yield f"  {part:<11}{sum(by_class.values()):>7,}  {told}"
    yield ""
    for number, line in enumerate(facts["summary"], start=1):
        yield f"{number}. {line}"
    yield ""
    yield from _files(facts)
    yield from _twins(facts)
    yield from _floor(facts)


def _faults(facts: Facts) -> Iterator[str]:
    yield from faults(facts)
    if dark := facts["files"]["odd"].get(BLACK):
        yield (
            f"{counted(dark['n'], '16-bit image is', '16-bit images are')} nearly black to a network, which "
            "divides by 257: spread their values over all 16 bits before."
        )
    yield from elsewhere(facts)


def _remarks(facts: Facts) -> Iterator[str]:
    if n := count(facts["files"]["unreadable"]):
        yield f"{counted(n, 'file', 'files')} cannot be read: {_kinds(facts['files']['unreadable'])}."
    if not facts["twins"]["any"]["leaked"] and facts["twins"]["any"]["across"]:
        yield validated(facts)
    if facts["floor"]:
        yield beat(facts)
        if not facts["twins"]["any"]["leaked"]:
            yield "No test image has a twin in the other parts."
        if not any(found["elsewhere"] for found in facts["origin"].values()):
            yield same_origin(facts)
    else:
        yield "There is no test part: a search cuts one, so that no twin stands on both sides."
    if facts["twins"]["any"]["groups"]:
        yield f"{facts['twins']['any']['images']:,} images are twins of others."
    yield f"{facts['files']['readable']:,} images can be read."


def _conflict(facts: Facts) -> str:
    n = facts["twins"]["any"]["conflicts"]
    if not n:
        return ""
    first = facts["conflicts"][0]
    more = "s of twins have" if n > 1 else " of twins has"
    return f"{n:,} group{more} two labels, such as {' and '.join(first['names'][:2])}."


def _leak(facts: Facts) -> str:
    twins = facts["twins"]
    n, test = twins["any"]["leaked"], sum(sizes["test"] for sizes in facts["leak"].values())
    if not n:
        return ""
    same, alike, mirrored = (twins[rule]["leaked"] for rule in ("identical", "alike", "mirrored"))
    worst = sorted(facts["leak"].items(), key=lambda item: -item[1]["any"])
    told = ", ".join(f"{found['any']} of {found['test']} {name}" for name, found in worst if found["any"])
    stand = "stands" if n == 1 else "stand"
    return (
        f"{n:,} of {test:,} test images ({n / test:.0%}) {stand} in {rest(facts)} too: "
        f"{same:,} to the last pixel, {alike - same:,} in another size, quality or light, "
        f"{mirrored - alike:,} mirrored, {n - mirrored:,} cropped ({told})."
    )


def rest(facts: Facts) -> str:
    """What the parts beside the test part are called."""
    return "training or validation" if "validation" in facts["counts"] else "training"


def validated(facts: Facts) -> str:
    """Twins on both sides of training and validation, where no test image has one."""
    across = facts["twins"]["any"]["across"]
    return (
        f"{counted(across, 'group of twins stands', 'groups of twins stand')} in training and in validation."
    )


def same_origin(facts: Facts) -> str:
    """That test images look as the others do, said of the classes that have enough of them."""
    by_verdict: dict[bool | None, list[str]] = {False: [], None: []}
    for name, found in facts["origin"].items():
        by_verdict[found["elsewhere"]].append(name)
    same, unsaid = by_verdict[False], by_verdict[None]
    if not same:
        return "Too few test images are unseen, or too few series, to say whether they come from elsewhere."
    of = "In every class the test images" if not unsaid else f"The test images of {', '.join(same)}"
    end = f"; of {', '.join(unsaid)} too few are unseen, or too few series, to say" if unsaid else ""
    return f"{of} look as the others do, as far as brightness and size tell{end}."


def elsewhere(facts: Facts) -> Iterator[str]:
    """A sentence for each class whose test images come from somewhere else, the clearest first."""
    found = [(name, one) for name, one in facts["origin"].items() if one["elsewhere"]]
    other = "a training image" if rest(facts) == "training" else f"an image of {rest(facts)}"
    for name, one in sorted(found, key=lambda item: -abs(item[1]["share"] - 0.5)):
        less, more = STATISTICS[one["by"]]
        share, how = (one["share"], more) if one["share"] >= 0.5 else (1 - one["share"], less)
        yield (
            f"The test images of {name} come from somewhere else: of a test image without a twin and "
            f"{other}, the test image is {_with(how)} in {share:.0%} of all pairs."
        )


def _with(how: str) -> str:
    return f"the one with {how}" if how.endswith("background") else how


def beat(facts: Facts) -> str:
    """The floor in a sentence."""
    nearest, commonest = (facts["floor"][name] for name in ("nearest_neighbour", "majority"))
    said = (
        f"A model must beat the likest thumbnail, which is right on "
        f"{nearest['official']['accuracy']:.3f} of the test"
    )
    n = nearest["unseen"]["n"]
    if not n:
        return f"{said}; no test image is unseen."
    unseen = counted(n, "unseen image", "unseen images")
    return (
        f"{said} and {nearest['unseen']['accuracy']:.3f} of its {unseen} "
        f"(the commonest class: {commonest['official']['accuracy']:.3f} and "
        f"{commonest['unseen']['accuracy']:.3f})."
    )


def count(kinds: dict[str, Any]) -> int:
    """Files of all kinds."""
    return sum(int(found["n"]) for found in kinds.values())


def _kinds(kinds: dict[str, Any]) -> str:
    return ", ".join(f"{found['n']:,} {kind}" for kind, found in kinds.items())


def _files(facts: Facts) -> Iterator[str]:
    files = facts["files"]
    yield f"files      {files['readable']:,} readable, {files['distinct']:,} of them distinct to the byte"
    for name, label in (("unreadable", "unreadable"), ("left_out", "left out"), ("odd", "odd")):
        for kind, found in files[name].items():
            yield f"{label:<11}{found['n']:,} {kind}: {named_of(found)}"


def _twins(facts: Facts) -> Iterator[str]:
    twins = facts["twins"]
    for rule, label in (
        ("identical", "identical"),
        ("alike", "or alike"),
        ("mirrored", "or mirrored"),
        ("any", "or cropped"),
    ):
        found = twins[rule]
        yield (
            f"twins      {label}: {counted(found['groups'], 'group', 'groups')} of "
            f"{found['images']:,} images, {counted(found['leaked'], 'test image', 'test images')} leaked, "
            f"{found['conflicts']:,} with two labels"
        )
    yield "pairs      " + ", ".join(f"{n:,} {kind}" for kind, n in twins["pairs"].items())


def _floor(facts: Facts) -> Iterator[str]:
    for name, parts in facts["floor"].items():
        told = [
            f"{part} {score['accuracy']:.3f} accuracy, {score['macro_f1']:.3f} macro-F1 (n = {score['n']:,})"
            for part, score in parts.items()
            if score["n"]
        ]
        yield f"floor      {name.replace('_', ' ')}: {'; '.join(told)}"
