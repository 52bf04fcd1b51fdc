"""The list of the runs of a folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from trained import crown, train

from tune_brain.errors import RunFolderError
from tune_brain.files import write_json
from tune_brain.layout import RECORD, RUN
from tune_brain.records import trials_of
from tune_brain.runs import Run
from tune_brain.stages.status import status


def test_a_folder_of_runs_is_listed_oldest_first(
    made: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later, earlier = made(out=tmp_path / "a", data=tmp_path / "scans"), made(out=tmp_path / "b[red]")
    (tmp_path / "scans").mkdir()
    write_json(later.folder / RECORD, {"started": "2026-11-30T20:00:00+0000"})
    write_json(earlier.folder / RECORD, {"started": "2026-11-29T21:00:00+0000"})
    train(later)
    crown(later, score=0.5, again=(0.6, 0.8))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / RUN).write_text("ladder = [")
    status(tmp_path)
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["run", "started", "images", "trials", "validation", "state"]
    assert [line.split()[0] for line in lines[:1] + lines[-2:]] == ["torn", "b[red]", "a"]
    assert "unreadable" in lines[0]
    assert lines[-2].split()[1:] == ["2026-11-29", "demo", "0", "-", "interrupted"]
    trials = len(trials_of(later.folder))
    assert lines[-1].split()[1:] == ["2026-11-30", "scans", str(trials), "0.6333", "linear", "searched"]


def test_one_run_whose_files_cannot_be_read_does_not_hide_the_others(
    made: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(out=tmp_path / "a")
    (made(out=tmp_path / "b").folder / "trials.jsonl").mkdir()
    status(tmp_path)
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "unreadable: Is a directory" in lines["b"]
    assert "interrupted" in lines["a"]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no run"):
        status(tmp_path)
