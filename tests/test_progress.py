"""What people see on the screen and in the log."""

import io
import sys
from pathlib import Path

import pytest

from tune_brain.progress import Progress


def test_control_characters_in_a_line_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.say("left out: \udcff\n2026-01-01 00:00:00  a forged line\x1b[2J [red]x")
    progress.log_to(tmp_path / "run.log")
    shown = r"left out: \xff\n2026-01-01 00:00:00  a forged line\x1b[2J [red]x"
    (line,) = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert line[21:] == shown
    assert capsys.readouterr().err == f"{shown}\n"


@pytest.mark.parametrize("error", [BrokenPipeError, OSError])
def test_a_broken_terminal_does_not_stop_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise error

    progress = Progress()
    progress.log_to(tmp_path / "run.log")
    monkeypatch.setattr(sys, "stderr", Gone())
    for line in ("one", "two"):
        progress.say(line)
    assert [line[21:] for line in (tmp_path / "run.log").read_text().splitlines()] == ["one", "two"]


def test_a_terminal_shows_lines_bars_and_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True, raising=False)
    progress = Progress()
    with progress.bar("decoding") as advance:
        advance(1, 2)
        progress.say("a line above the bar")
    with progress.table(lambda: "three running"):
        progress.say("a line above the table")
    printed = capsys.readouterr().err
    assert all(word in printed for word in ("decoding", "above the bar", "three running", "above the table"))


def test_the_log_is_written_without_standard_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    progress = Progress()
    progress.log_to(tmp_path / "run.log")
    with progress.bar("decoding") as advance:
        advance(1, 2)
    progress.say("a line")
    assert "a line" in (tmp_path / "run.log").read_text()
