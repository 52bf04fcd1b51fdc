"""Names and lines as they can be shown anywhere."""

import shlex
from pathlib import Path

import pytest

from tune_brain.text import counted, legible, quoted


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("tumo\udcffr.png", r"tumo\xffr.png"),
        ("\ud800", r"\ud800"),
        ("a\nb\r\t\0", r"a\nb\r\t\x00"),
        ("\x1b[2Jclear", r"\x1b[2Jclear"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("gliome, méningé · ± 脳 (1).png", "gliome, méningé · ± 脳 (1).png"),
    ],
)
def test_what_cannot_be_shown_stands_as_escapes(name: str, shown: str) -> None:
    assert legible(name) == shown
    assert shown.encode("utf-8").decode().isprintable()


def test_one_is_not_many() -> None:
    said = [counted(n, "file", "files") for n in (0, 1, 2, 1200)]
    assert said == ["0 files", "1 file", "2 files", "1,200 files"]


def test_a_path_can_be_pasted_into_a_shell() -> None:
    for name in ("results/a", "my run", "it's", "$HOME;rm"):
        assert shlex.split(f"tune-brain resume {quoted(Path(name))}") == ["tune-brain", "resume", name]
