import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import phantom, save
from numpy.typing import NDArray
from PIL import Image

from tune_brain.data.demo import write_demo

Writer = Callable[..., Path]
Slices = Callable[..., NDArray[np.uint8]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "demo"
    write_demo(folder, per_class=(16, 6))
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Writes small images of noise below a folder, each one different."""

    def images(*names: str) -> Path:
        root = tmp_path / "images"
        for number, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            random = np.random.default_rng([number, *os.fsencode(name)])
            pixels = random.integers(0, 256, (24, 24), np.uint8)
            Image.fromarray(pixels).save(path, "PNG")
        return root

    return images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of distinct phantoms in two parts."""
    root = tmp_path / "images"
    for number, name in enumerate(("Training/a", "Training/b", "Testing/a", "Testing/b")):
        for i in range(3 if name.startswith("Training") else 2):
            save(root / name / f"{i}.png", phantom(10 * number + i))
    return root


@pytest.fixture
def slices() -> Slices:
    """Draws thumbnails that change gradually within a patient and abruptly between patients."""

    def drawn(patients: int, each: int, seed: int = 0) -> NDArray[np.uint8]:
        random = np.random.default_rng(seed)
        common = random.normal(size=(8, 8))
        volumes = random.normal(size=(patients, 2, 8, 8))
        drift = np.linspace(0, 1, each)[:, None, None]
        images = np.concatenate([a * (1 - drift) + b * drift for a, b in volumes]) + common
        return np.clip(128 + 40 * images, 0, 255).astype(np.uint8)

    return drawn


@pytest.fixture
def real() -> Path:
    folder = os.environ.get("TUNE_BRAIN_DATA")
    if not folder:
        pytest.skip("TUNE_BRAIN_DATA names no folder with sartaj/ and nickparvar/")
    return Path(folder)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two sets of distinct phantoms with different spellings of the classes; the second has no test part."""
    first, second = tmp_path / "first", tmp_path / "second"
    for number, (part, n) in enumerate((("Training", 4), ("Testing", 2))):
        for place, name in enumerate(("glioma_tumor", "no_tumor")):
            for i in range(n):
                save(first / part / name / f"{i}.png", phantom(100 * number + 10 * place + i))
    for place, name in enumerate(("Glioma", "notumor")):
        for i in range(4):
            save(second / name / f"{i}.png", phantom(1000 + 10 * place + i))
    return first, second
