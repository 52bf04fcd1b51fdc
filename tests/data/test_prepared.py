"""What of a prepared data set goes to other processes and into files, and what tells one from another."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from ray import cloudpickle

from tune_brain.data.prepare import prepare


def test_workers_of_a_machine_can_share_the_images(demo: Path) -> None:
    development, shared = prepare(demo, image_size=24, seed=0).development(), []
    own = cloudpickle.dumps(development, protocol=5, buffer_callback=shared.append)
    assert len(own) < 2_000
    assert sum(buffer.raw().nbytes for buffer in shared) > development.train.pixels.nbytes


def test_classes_of_any_name_are_text(write: Callable[..., Path]) -> None:
    places = [("train", 4), ("test", 1)]
    names = [f"{part}/{label}/{i}.png" for part, n in places for label in "a\udcff" for i in range(n)]
    prepared = prepare(write(*names), image_size=16, seed=0)
    assert prepared.classes == ("a", r"\xff")
    json.dumps(prepared.summary, ensure_ascii=False).encode()


def test_what_was_left_out_of_training_is_no_leak_of_a_test_that_was_cut(write: Callable[..., Path]) -> None:
    root = write(*(f"{name}/{i}.png" for name in "ab" for i in range(50)))
    for file in sorted(root.rglob("*.png")):
        with Image.open(file) as image:
            ImageOps.mirror(image).save(file.with_name(f"mirrored-{file.name}"))
    prepared = prepare(root, image_size=16, seed=0)
    assert prepared.summary["dropped"] > 0
    assert np.load(prepared.sealed / "unseen.npy").all()
    assert prepared.summary["twins"]["across"] == 0


def test_names_that_change_the_order_are_told_from_others(write: Callable[..., Path]) -> None:
    parts = (("train", 6), ("val", 3), ("test", 4))
    root = write(*(f"{part}/{name}/{i}.png" for part, n in parts for name in "ab" for i in range(n)))
    before = prepare(root, image_size=16, seed=0).summary
    for old, new in (("0", "x"), ("1", "0"), ("x", "1")):
        (root / f"train/a/{old}.png").rename(root / f"train/a/{new}.png")
    after = prepare(root, image_size=16, seed=0).summary
    assert after["cut_digest"] == before["cut_digest"]
    assert after["order_digest"] != before["order_digest"]
