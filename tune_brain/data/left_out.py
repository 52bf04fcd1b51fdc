"""Files and folders of a data set that are not used, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tune_brain.text import legible


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file or folder that is not used, and why."""

    name: str
    """Path below the root of the data set, with forward slashes."""
    reason: str


def by_reason(left_out: Iterable[LeftOut]) -> dict[str, Any]:
    """For each reason the number of files left out, `n`, and the first five `names`, as printable text."""
    names: dict[str, list[str]] = {}
    for entry in left_out:
        names.setdefault(entry.reason, []).append(legible(entry.name))
    return {reason: {"n": len(every), "names": every[:5]} for reason, every in names.items()}


def first_names(group: Mapping[str, Any]) -> str:
    """The names of a group of `by_reason`, followed by dots where there are more."""
    return ", ".join(group["names"]) + (", ..." if group["n"] > len(group["names"]) else "")


def number_of_files(groups: Mapping[str, Any]) -> int:
    """Number of files in all groups of `by_reason` together."""
    return sum(int(group["n"]) for group in groups.values())
