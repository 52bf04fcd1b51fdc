from pathlib import Path

import pytest
import torch

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
