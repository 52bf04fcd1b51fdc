"""Classes of few images are split about as asked, or named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tune_brain.data.describe import describe
from tune_brain.data.prepare import prepare
from tune_brain.errors import DataError

Slices = Callable[..., NDArray[np.uint8]]


def save_slices(root: Path, slices: Slices, n: int, name: str = "{}.png") -> None:
    """Two classes of n images each, in slice order; names are formatted with the number of the image."""
    for seed, label in enumerate("ab"):
        (root / label).mkdir(parents=True)
        images = slices(n // 10, 10, seed).repeat(2, axis=1).repeat(2, axis=2)
        for i, pixels in enumerate(images):
            Image.fromarray(pixels).save(root / label / name.format(i))


@pytest.mark.parametrize(("n", "block"), [(40, 5), (60, 8)])
def test_a_small_class_in_slice_order_gives_about_its_share(
    slices: Slices, tmp_path: Path, n: int, block: int
) -> None:
    save_slices(tmp_path / "images", slices, n)
    prepared = prepare(tmp_path / "images", image_size=16, seed=0)
    counts = prepared.summary["counts"]
    assert list(counts["test"].values()) == pytest.approx([0.2 * n] * 2, abs=block)
    assert list(counts["validation"].values()) == pytest.approx([0.12 * n] * 2, abs=block)
    assert prepared.summary["uneven"] == []
    lines = "\n".join(describe(prepared.summary))
    assert "not 15%" not in lines
    assert "not 20%" not in lines
    assert "a, b: too few images for blocks of 20 neighbouring files" in lines
    # Neighbours within 20 images are one observation, even where a split had to part them.
    groups = np.load(prepared.sealed / "groups.npy")
    assert len(set(groups.tolist())) <= 2 * -(-n // 20)


def test_a_class_that_cannot_give_its_share_is_named(slices: Slices, tmp_path: Path) -> None:
    save_slices(tmp_path / "images", slices, 60)
    for i in set(range(60)) - {5, 25, 45}:
        (tmp_path / f"images/b/{i}.png").unlink()
    summary = prepare(tmp_path / "images", image_size=16, seed=0).summary
    assert summary["uneven"] == [
        {"part": "test", "class": "b", "images": 1, "of": 3, "asked": 0.2},
        {"part": "validation", "class": "b", "images": 1, "of": 2, "asked": 0.15},
    ]
    lines = "\n".join(describe(summary))
    reason = "too few groups of related images"
    assert f"test has 1 of 3 b images, not 20% of each class: {reason}" in lines
    assert f"validation has 1 of 2 b images, not 15% of each class: {reason}" in lines


def test_a_class_of_copies_gives_too_little_and_is_named(write: Callable[..., Path]) -> None:
    numbers = {"train": 20, "test": 1}
    root = write(
        *(f"{part}/{label}/{i}.png" for part, n in numbers.items() for label in "ab" for i in range(n))
    )
    for i in range(1, 19):
        shutil.copy(root / "train/a/0.png", root / f"train/a/{i}.png")
    uneven = prepare(root, image_size=16, seed=0).summary["uneven"]
    assert uneven == [{"part": "validation", "class": "a", "images": 1, "of": 20, "asked": 0.15}]


def test_two_patients_cannot_be_split_in_three(slices: Slices, tmp_path: Path) -> None:
    save_slices(tmp_path / "images", slices, 40)
    for file in (tmp_path / "images/a").iterdir():
        patient, number = divmod(int(file.stem), 20)
        file.rename(file.with_name(f"patient {patient} slice {number}.png"))
    with pytest.raises(DataError, match="found: a: its 20 images left in training are one group"):
        prepare(tmp_path / "images", image_size=16, seed=0)
