import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tune_brain import lock
from tune_brain.errors import RunFolderError

HOLD = """
import sys, time
from pathlib import Path
from tune_brain import lock
with lock.hold(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds the lock until it is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_refused_with_the_process_of_the_first(tmp_path: Path, other) -> None:
    found = lock.holder(tmp_path)
    assert found
    assert (found.pid, found.host) == (other.pid, socket.gethostname())
    with (
        pytest.raises(RunFolderError, match=f"process {other.pid} on .*\n.*tune-brain cancel"),
        lock.hold(tmp_path),
    ):
        pass


def test_a_killed_writer_leaves_no_lock(tmp_path: Path, other) -> None:
    other.kill()
    other.wait()
    assert lock.holder(tmp_path) is None
    with lock.hold(tmp_path, lock.EVALUATE):
        found = lock.holder(tmp_path)
        assert found
        assert (found.pid, found.command) == (os.getpid(), lock.EVALUATE)
    assert lock.holder(tmp_path) is None


def test_a_run_that_was_never_written_to_has_no_holder(tmp_path: Path) -> None:
    assert lock.holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunFolderError, match=f"{os.strerror(code)}.\n.*--out"), lock.hold(tmp_path):
        pass
    assert lock.holder(tmp_path) is None


def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunFolderError, match="No space left"), lock.hold(tmp_path):
        pass


def test_a_missing_folder_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="Cannot write"), lock.hold(tmp_path / "none"):
        pass
