import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from browser import chromium, page  # noqa: F401 - fixtures of all tests
from leftovers import left_behind
from program import PROGRAM

from tune_brain.data.demo import write_demo

# A shell makes background commands ignore SIGINT, and nohup SIGHUP. If pytest is started that way, the
# commands that tests interrupt must not inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder of demo images in the layout Training/Testing."""
    folder = tmp_path_factory.mktemp("phantoms") / "images"
    write_demo(folder, per_class=(14, 5))
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that tests on the same images share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Use one thread, as the search's workers do: on a busy machine, torch's threads wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def environment(cache: Path) -> Iterator[dict[str, str]]:
    """The environment of commands, with a separate folder for temporary files, which `left_behind` checks."""
    # The path is short because it will contain Ray's sockets.
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield {**os.environ, "TUNE_BRAIN_CACHE": str(cache), "COLUMNS": "200", "TMPDIR": folder}


@pytest.fixture(scope="session")
def command(environment: dict[str, str]):
    def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*PROGRAM, *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert left_behind(environment) == []
        return done

    return run
