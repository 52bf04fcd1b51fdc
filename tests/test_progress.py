"""What a person reads while something runs: on the screen and in the log."""

from pathlib import Path

import pytest

from tune_brain.progress import Progress


def test_a_line_stays_one_line_whatever_names_are_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress()
    progress.say("left out: \udcff\n2026-01-01 00:00:00  a forged line\x1b[2J [red]x")
    progress.log_to(tmp_path / "run.log")
    said = r"left out: \xff\n2026-01-01 00:00:00  a forged line\x1b[2J [red]x"
    (line,) = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert line[21:] == said
    assert capsys.readouterr().err == f"{said}\n"
