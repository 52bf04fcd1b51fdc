"""What of a prepared data set goes to other processes and into files: shared arrays and legible names."""

import json
from collections.abc import Callable
from pathlib import Path

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
