"""Text that can be shown anywhere, and numbers in words."""

import shlex
from pathlib import Path


def legible(text: str) -> str:
    """A name or a line as it can be written to any file and terminal.

    Bytes of a file's name that are no UTF-8 stand as escapes, and so does what is not printable: it could
    forge a line or clear a screen.
    """
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def counted(n: int, one: str, more: str) -> str:
    """A number and what there is of it: 1 file, 1,200 files."""
    return f"{n:,} {one if n == 1 else more}"


def quoted(path: Path) -> str:
    """A path as it can be pasted into a shell."""
    return shlex.quote(str(path))


def duration(seconds: float) -> str:
    """How long, as a person says it: 42 s, 7 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _escaped(one: str) -> str:
    # The form in which Python keeps a byte that it could not decode.
    if "\udc80" <= one <= "\udcff":
        return f"\\x{ord(one) - 0xDC00:02x}"
    return one.encode("unicode_escape").decode("ascii")
