"""A search watched, interrupted, cancelled and extended through the command line."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from leftovers import left_behind
from program import PROGRAM

from tune_brain import lock
from tune_brain.records import EpochRow, read, trials_of

pytestmark = pytest.mark.slow


@pytest.fixture
def own(environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """A separate environment for the long search, whose files and processes other commands do not leave."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield {**environment, "TMPDIR": folder}


def as_from_a_shell() -> None:
    """Start like a background command of a shell: it ignores Ctrl-C but not the end of its terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def long_search(
    environment: dict[str, str],
    images: Path,
    folder: Path,
    begins: Callable[[], None] | None = as_from_a_shell,
) -> Iterator[subprocess.Popen[str]]:
    """A running search that has ended its first epoch and whose first trial would take minutes."""
    program = [*PROGRAM, "search", "--data", str(images), "--out", str(folder)]
    options = ("--arch", "cnn", "--ladder", "5000", "--image-size", "32", "--concurrency", "1")
    running = subprocess.Popen(
        [*program, *options],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=begins,
    )
    try:
        while not read(folder / "epochs.jsonl", EpochRow):
            assert running.poll() is None
            time.sleep(0.05)
        yield running
    finally:
        running.kill()
        running.wait()


def test_repeated_ctrl_c_still_ends_with_the_command_to_continue(
    own: dict[str, str], phantoms: Path, tmp_path: Path
) -> None:
    with long_search(own, phantoms, tmp_path / "run", begins=None) as running:
        for _ in range(6):
            running.send_signal(signal.SIGINT)
            time.sleep(0.3)
        output = running.communicate()[1]
    assert running.returncode == 130, output
    assert "tune-brain resume" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_a_closed_terminal_end_a_search_without_leftovers(
    own: dict[str, str], phantoms: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with long_search(own, phantoms, tmp_path / "run") as running:
        running.send_signal(number)
        assert "tune-brain resume" in running.communicate()[1]
    assert running.returncode == 130
    assert left_behind(own) == []
    assert lock.holder(tmp_path / "run") is None


def test_a_search_is_watched_and_cancelled(
    command, own: dict[str, str], phantoms: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with long_search(own, phantoms, folder) as running:
        assert f"process {running.pid} on" in command("status", folder).stdout
        log = (folder / "run.log").read_text()
        assert f"process {running.pid} on" in command("resume", folder, code=5).stderr
        assert (folder / "run.log").read_text() == log
        assert "cancelled" in command("cancel", folder).stdout
        assert f"tune-brain resume {folder}" in running.communicate()[1]
    assert running.returncode == 130
    assert left_behind(own) == []
    assert "nothing was running" in command("cancel", folder).stdout
    printed = command("status", folder).stdout
    assert "not running" in printed
    assert "interrupted: cnn baseline" in printed


def test_a_search_is_extended(command, phantoms: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = ("--arch", "linear", "--configs", "2", "--ladder", "1,2", "--image-size", "32")
    command("search", "--data", phantoms, "--out", folder, *options)
    before = trials_of(folder)
    command("extend", folder, "--configs", 1, code=2)
    command("extend", folder, "--configs", 4, "--arch", "cnn")
    rows = trials_of(folder)
    assert rows[: len(before)] == before
    assert {(row.arch, row.configuration) for row in rows} == {
        (arch, number) for arch in ("linear", "cnn") for number in range(5)
    }
    assert len({(row.arch, row.configuration, row.epochs, row.repeat) for row in rows}) == len(rows)
    assert all(row.epochs == 2 for row in rows if row.repeat)
    assert "tune-brain evaluate" in command("status", folder).stdout
    (folder / "seed_runs.jsonl").write_text("")
    assert "can no longer be continued" in command("extend", folder, "--configs", 8, code=5).stderr
