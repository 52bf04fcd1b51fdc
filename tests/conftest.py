from pathlib import Path

import pytest

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
