import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bundles import change, write_bundle
from served import Server

from tune_brain.bundle.schema import CARD


@pytest.fixture(scope="session")
def bundle_folder(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "ensemble", phantoms, ("cnn", "resnet18"))


@pytest.fixture(scope="session")
def light_bundle(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that opens fast, without a heat map."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "linear", phantoms, ("linear",))


@pytest.fixture(scope="session")
def mri(phantoms: Path) -> Path:
    return phantoms / "Testing" / "pituitary" / "pituitary (1).jpg"


@pytest.fixture(scope="module")
def url(bundle_folder: Path) -> Iterator[str]:
    server = Server(bundle_folder)
    yield server.url
    server.end()


@pytest.fixture
def changed(bundle_folder: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Serves a changed copy of the bundle."""
    servers = []

    def serve(port: int = 0, **fields: Any) -> Server:
        folder = shutil.copytree(bundle_folder, tmp_path / str(len(servers)))
        (folder / CARD).write_text(f"# Card of {fields.get('name')}\n\n**Not a medical device.**\n")
        change(folder, **fields)
        servers.append(Server(folder, port))
        return servers[-1]

    yield serve
    for server in servers:
        server.end()
