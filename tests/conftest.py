import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from browser import chromium, page  # noqa: F401 - fixtures of all tests

from tune_brain.data.demo import write_demo


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
    """As in the search's workers; on a busy machine torch's threads wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "TUNE_BRAIN_CACHE": str(cache), "COLUMNS": "200"}


@pytest.fixture(scope="session")
def command(environment: dict[str, str]):
    def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", "from tune_brain.cli import main; main()", *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run
