"""Escaping names and lines, and formatting counts and paths."""

import shlex
from pathlib import Path

import pytest

from tune_brain.text import counted, legible, listed, quoted


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("tumo\udcffr.png", r"tumo\xffr.png"),
        ("\ud800", r"\ud800"),
        ("a\nb\r\t\0", r"a\nb\r\t\x00"),
        ("\x1b[2Jclear", r"\x1b[2Jclear"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("gliome, méningé · ± 脳 (1).png", "gliome, méningé · ± 脳 (1).png"),
    ],
)
def test_unprintable_characters_are_escaped(name: str, escaped: str) -> None:
    assert legible(name) == escaped
    assert escaped.encode("utf-8").decode().isprintable()


def test_nouns_are_singular_or_plural() -> None:
    counts = [counted(n, "file", "files") for n in (0, 1, 2, 1200)]
    assert counts == ["0 files", "1 file", "2 files", "1,200 files"]


def test_names_are_listed_with_a_word_before_the_last() -> None:
    assert [listed(["a", "b", "c"][:n], "and") for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_a_quoted_path_is_one_word_to_a_shell() -> None:
    for name in ("results/a", "my run", "it's", "$HOME;rm"):
        assert shlex.split(f"tune-brain resume {quoted(Path(name))}") == ["tune-brain", "resume", name]
