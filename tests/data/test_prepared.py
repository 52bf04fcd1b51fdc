"""Prepared data sets in other processes and in files, and the digests that identify them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from ray import cloudpickle

from tune_brain.data.prepare import prepare


def test_workers_of_a_machine_share_the_images(demo: Path) -> None:
    development, shared = prepare(demo, image_size=24, seed=0).development(), []
    copied = cloudpickle.dumps(development, protocol=5, buffer_callback=shared.append)
    assert len(copied) < 2_000
    assert sum(buffer.raw().nbytes for buffer in shared) > development.train.pixels.nbytes


def test_class_names_that_are_not_utf8_are_escaped(write: Callable[..., Path]) -> None:
    places = [("train", 4), ("test", 1)]
    names = [f"{part}/{label}/{i}.png" for part, n in places for label in "a\udcff" for i in range(n)]
    prepared = prepare(write(*names), image_size=16, seed=0)
    assert prepared.classes == ("a", r"\xff")
    json.dumps(prepared.summary, ensure_ascii=False).encode()


def test_twins_of_a_split_off_test_are_dropped_and_make_no_test_image_seen(
    write: Callable[..., Path],
) -> None:
    root = write(*(f"{name}/{i}.png" for name in "ab" for i in range(50)))
    for file in sorted(root.rglob("*.png")):
        with Image.open(file) as image:
            ImageOps.mirror(image).save(file.with_name(f"mirrored-{file.name}"))
    prepared = prepare(root, image_size=16, seed=0)
    assert prepared.summary["dropped"] > 0
    assert np.load(prepared.sealed / "unseen.npy").all()
    assert prepared.summary["twins"]["across"] == 0


def test_the_digest_depends_only_on_contents_parts_and_classes(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    root = write(*(f"{name}/{i}.png" for name in "ab" for i in range(12)))
    digest = prepare(root, image_size=16, seed=0).summary["digest"]
    moved = shutil.copytree(root, tmp_path / "elsewhere" / "copy")
    (moved / "a/3.png").rename(moved / "a/x3.png")
    assert prepare(moved, image_size=20, seed=7).summary["digest"] == digest
    (moved / "a/x3.png").rename(moved / "b/x3.png")
    assert prepare(moved, image_size=16, seed=0).summary["digest"] != digest


def test_renaming_that_changes_the_order_changes_only_the_order_digest(write: Callable[..., Path]) -> None:
    parts = (("train", 6), ("val", 3), ("test", 4))
    root = write(*(f"{part}/{name}/{i}.png" for part, n in parts for name in "ab" for i in range(n)))
    before = prepare(root, image_size=16, seed=0).summary
    for old, new in (("0", "x"), ("1", "0"), ("x", "1")):
        (root / f"train/a/{old}.png").rename(root / f"train/a/{new}.png")
    after = prepare(root, image_size=16, seed=0).summary
    assert after["cut_digest"] == before["cut_digest"]
    assert after["order_digest"] != before["order_digest"]
