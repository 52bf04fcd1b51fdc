from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import files
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression

from tune_brain.data import demo
from tune_brain.data.cache import decode
from tune_brain.data.catalogue import scan
from tune_brain.data.demo import CLASSES, draw, write_demo
from tune_brain.data.series import ordered_series
from tune_brain.data.twins import twin_groups
from tune_brain.errors import ConfigError
from tune_brain.portable.pictures import open_grey


def test_layout_and_file_formats(demo: Path) -> None:
    catalogue = scan(demo)
    assert catalogue.classes == CLASSES
    assert catalogue.left_out == ()
    assert [image.part for image in catalogue.images].count("train") == 4 * 16
    assert len(catalogue.images) == 4 * (16 + 6)
    assert (demo / "Testing" / "notumor" / "notumor (1).jpg").is_file()
    kinds = set()
    for image in catalogue.images:
        with Image.open(demo / image.name) as opened:
            kinds.add((opened.format, opened.mode))
            assert min(opened.size) >= 96
            assert max(opened.size) <= 176
    assert kinds == {("JPEG", "L"), ("JPEG", "RGB"), ("PNG", "L"), ("PNG", "RGB")}


def test_some_images_are_twins_within_training_and_across_parts(demo: Path) -> None:
    catalogue = scan(demo)
    decoded, failures = decode([demo / image.name for image in catalogue.images], 16)
    assert failures == {}
    group, _ = twin_groups(decoded.digests, decoded.thumbnails)
    test = np.array([image.part == "test" for image in catalogue.images])
    across = np.isin(group[test], group[~test])
    assert across.sum() == 4
    assert len(set(group[~test])) == 4 * 15
    assert ordered_series([image.name for image in catalogue.images], decoded.thumbnails) == []


@pytest.mark.slow
def test_the_default_set_has_exact_and_resized_twins(tmp_path: Path) -> None:
    write_demo(tmp_path / "demo")
    catalogue = scan(tmp_path / "demo")
    decoded, _ = decode([catalogue.root / image.name for image in catalogue.images], 16)
    twins = len(decoded.digests) - len(set(twin_groups(decoded.digests, decoded.thumbnails)[0]))
    exact = len(decoded.digests) - len(set(decoded.digests))
    assert (twins, exact) == (4 * 6, 4 * 3)


def test_the_seed_determines_every_byte(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_demo(tmp_path / name, seed=seed, per_class=(2, 1))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not set(files(tmp_path / "a").values()) & set(files(tmp_path / "c").values())


def test_only_new_or_empty_folders_are_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    # Left by a command that was killed.
    (tmp_path / "empty" / ".making-of-another").mkdir()
    write_demo(tmp_path / "empty", per_class=(1, 1))
    before = files(tmp_path / "empty")
    assert len(before) == 8
    with pytest.raises(ConfigError, match="new or empty folder"):
        write_demo(tmp_path / "empty", per_class=(2, 2))
    assert files(tmp_path / "empty") == before
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def flattened(name: str, stream: int, n: int) -> NDArray[np.float64]:
    images = [draw(name, np.random.default_rng([stream, i])).resize((32, 32)) for i in range(n)]
    return np.stack([np.asarray(image, np.float64).ravel() / 255 for image in images])


@pytest.mark.slow
def test_a_linear_model_is_better_than_chance_but_not_perfect() -> None:
    labels = np.repeat(np.arange(4), 60)
    train = np.concatenate([flattened(name, label, 60) for label, name in enumerate(CLASSES)])
    test = np.concatenate([flattened(name, label + 9, 60) for label, name in enumerate(CLASSES)])
    accuracy = LogisticRegression(max_iter=500).fit(train, labels).score(test, labels)
    assert 0.3 < accuracy < 0.9


def test_phantoms_fill_the_middle_and_leave_the_corners_dark(demo: Path) -> None:
    grey = np.asarray(open_grey((demo / "Training" / "notumor" / "notumor (1).jpg").read_bytes()).image)
    height, width = grey.shape
    assert grey[height // 3 : -height // 3, width // 3 : -width // 3].mean() > 50
    assert grey[:8, :8].mean() < 15


def test_of_two_concurrent_writers_the_first_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, drawn = tmp_path / "demo", demo.draw

    def overtaken(*args: Any) -> Image.Image:
        if not folder.exists():
            monkeypatch.setattr(demo, "draw", drawn)
            write_demo(folder, per_class=(1, 1))
        return drawn(*args)

    monkeypatch.setattr(demo, "draw", overtaken)
    write_demo(folder, per_class=(2, 1))
    assert len(files(folder)) == 8
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
