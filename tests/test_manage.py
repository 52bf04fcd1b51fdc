"""A search as its user watches, cancels and extends it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from leftovers import left_behind

from tune_brain import lock
from tune_brain.records import EpochRow, TrialRow, latest, read

pytestmark = pytest.mark.slow


def long_search(environment: dict[str, str], images: Path, folder: Path) -> subprocess.Popen[str]:
    """Start a search whose first trial would take minutes, and wait for its first epoch."""
    program = [sys.executable, "-c", "from tune_brain.cli import main; main()"]
    asked = ("--arch", "cnn", "--ladder", "5000", "--image-size", "32", "--concurrency", "1")
    running = subprocess.Popen(
        [*program, "search", "--data", str(images), "--out", str(folder), *asked],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not read(folder / "epochs.jsonl", EpochRow):
        assert running.poll() is None
    return running


def test_sigterm_ends_a_search_and_leaves_nothing(
    environment: dict[str, str], phantoms: Path, tmp_path: Path
) -> None:
    with long_search(environment, phantoms, tmp_path / "run") as running:
        running.send_signal(signal.SIGTERM)
        assert running.stderr is not None
        assert "tune-brain resume" in running.stderr.read()
    assert running.returncode == 130
    assert left_behind(environment) == []
    assert lock.holder(tmp_path / "run") is None


def test_a_search_is_watched_and_cancelled(
    command, environment: dict[str, str], phantoms: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with long_search(environment, phantoms, folder) as running:
        assert f"process {running.pid} on" in command("status", folder).stdout
        assert f"process {running.pid} on" in command("resume", folder, code=5).stderr
        assert "cancelled" in command("cancel", folder).stdout
        assert running.stderr is not None
        assert f"tune-brain resume {folder}" in running.stderr.read()
    assert running.returncode == 130
    assert left_behind(environment) == []
    assert "nothing was running" in command("cancel", folder).stdout
    told = command("status", folder).stdout
    assert "not running" in told
    assert "interrupted: cnn baseline" in told


def test_a_search_is_extended(command, phantoms: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    asked = ("--arch", "linear", "--configs", "2", "--ladder", "1,2", "--image-size", "32")
    command("search", "--data", phantoms, "--out", folder, *asked)
    before = latest(read(folder / "trials.jsonl", TrialRow))
    command("extend", folder, "--configs", 1, code=2)
    command("extend", folder, "--configs", 4, "--arch", "cnn")
    rows = latest(read(folder / "trials.jsonl", TrialRow))
    assert rows[: len(before)] == before
    assert {(row.arch, row.configuration) for row in rows} == {
        (arch, number) for arch in ("linear", "cnn") for number in range(5)
    }
    assert len({(row.arch, row.configuration, row.epochs) for row in rows}) == len(rows)
    assert "Next: tune-brain evaluate" in command("status", folder).stdout
    (folder / "seed_runs.jsonl").write_text("")
    assert "before its winners are trained again" in command("extend", folder, "--configs", 8, code=5).stderr
