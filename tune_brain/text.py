"""Make text safe to display, and format counts, paths and durations."""

import shlex
from collections.abc import Sequence
from pathlib import Path


def legible(text: str) -> str:
    """Escape a name or line so that it can be written to any file and terminal.

    Escapes bytes of file names that are not UTF-8, and unprintable characters, which could forge a line or
    clear a screen.
    """
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def counted(n: int, singular: str, plural: str) -> str:
    """A number with its noun: 1 file, 1,200 files."""
    return f"{n:,} {singular if n == 1 else plural}"


def listed(names: Sequence[str], last: str) -> str:
    """Names as a list: `a, b and c`.

    Args:
        names: one or more.
        last: the word before the last one, such as `and`.
    """
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def quoted(path: Path) -> str:
    """A path, quoted for a shell."""
    return shlex.quote(str(path))


def duration(seconds: float) -> str:
    """A duration for people: 42 s, 7 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _escaped(character: str) -> str:
    # Python represents a byte that it could not decode as one of these surrogates.
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
