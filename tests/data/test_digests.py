"""Digests are written into records of runs, so the same data must always get the same ones."""

from pathlib import Path

import numpy as np

from tune_brain.data.catalogue import Catalogue, Image
from tune_brain.data.digests import digests


def test_digests_never_change() -> None:
    images = tuple(
        Image(name=f"{i}.png", label=i % 2, part=part) for i, part in enumerate(("train", "train", "test"))
    )
    classes = ("a", "b\udcff")
    catalogue = Catalogue(root=Path(), classes=classes, parts=("train", "test"), images=images, left_out=())
    parts = ["train", "validation", "test"]
    for patient, order in ((-1, "ac772ae39bb4"), (0, "d6cbeeac862c")):
        patients = np.array([patient, -1, -1])
        found = digests(catalogue, ["c2", "c1", "c0"], parts, np.array([0]), patients)
        assert {name: value[:12] for name, value in found.items()} == {
            "digest": "7d016408c619",
            "cut_digest": "7deb4d913361",
            "test_digest": "122c597083bd",
            "order_digest": order,
        }
