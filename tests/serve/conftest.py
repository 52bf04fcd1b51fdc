from pathlib import Path

import pytest
from bundles import write_bundle


@pytest.fixture(scope="session")
def bundle_folder(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "ensemble", phantoms, ("cnn", "resnet18"))


@pytest.fixture(scope="session")
def mri(phantoms: Path) -> Path:
    return phantoms / "Testing" / "pituitary" / "pituitary (1).jpg"
