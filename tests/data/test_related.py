"""Audits and searches judge images by the same relations."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tune_brain.data.audit import audit
from tune_brain.data.prepare import prepare
from tune_brain.data.related import Related, relate

Slices = Callable[..., NDArray[np.uint8]]


def related(**groups: list[int]) -> Related:
    alone = np.arange(6)
    given = {name: np.array(values) for name, values in groups.items()}
    defaults = {"alike": alone, "mirrored": alone, "patients": np.full(6, -1), "blocks": alone}
    return Related(**{**defaults, "split_blocks": alone, **given})


TEST = np.arange(6) >= 3


def test_mirrored_twins_and_patients_cross_the_parts_but_unknown_patients_do_not() -> None:
    relations = related(mirrored=[0, 1, 2, 1, 4, 4], patients=[-1, -1, 7, -1, 7, 8])
    twin, patient = relations.across(TEST, ~TEST)
    assert np.flatnonzero(twin).tolist() == [3]
    assert np.flatnonzero(patient).tolist() == [4]
    twin, patient = relations.across(~TEST, TEST)
    assert (np.flatnonzero(twin).tolist(), np.flatnonzero(patient).tolist()) == ([1], [2])


def test_mirrored_twins_are_one_observation_only_in_the_test() -> None:
    mirrored, blocks = [0, 0, 2, 3, 4, 4], [0, 1, 1, 3, 3, 5]
    groups = related(mirrored=mirrored, blocks=blocks).observations(TEST)
    assert groups[:3].tolist() == [0, 1, 1]
    assert groups[3:].tolist() == [0, 0, 0]
    alike = related(alike=mirrored, blocks=blocks).observations(TEST)
    assert alike[:3].tolist() == [0, 0, 0]
    assert alike[3:].tolist() == [0, 0, 1]
    assert related().observations(np.ones(6, bool)).tolist() == list(range(6))


def test_known_patients_take_the_place_of_neighbouring_files(slices: Slices) -> None:
    names, alone = [f"a/{i}.png" for i in range(60)], np.arange(60)
    patients = {names[place]: "A" for place in (5, 30, 31)}
    relations = relate(names, slices(6, 10), patients, alike=alone, mirrored=alone)
    known = relations.patients >= 0
    assert np.flatnonzero(known).tolist() == [5, 30, 31]
    for groups, size in ((relations.blocks, 20), (relations.split_blocks, 8)):
        assert len(set(groups[known])) == 1
        assert not set(groups[known]) & set(groups[~known])
        assert groups[~known].tolist() == [i // size * size for i in alone if not known[i]]


def test_an_audit_and_a_search_find_the_same_unseen_images_and_groups(write: Callable[..., Path]) -> None:
    parts = (("Training", 8), ("Testing", 7))
    root = write(*(f"{part}/{label}/{i}.png" for part, n in parts for label in "ab" for i in range(n)))
    shutil.copy(root / "Testing/a/0.png", root / "Training/a/0.png")
    for test, other in (("a/1", "Training/b/2"), ("a/2", "Testing/a/3"), ("b/0", "Training/b/3")):
        with Image.open(root / f"Testing/{test}.png") as image:
            ImageOps.mirror(image).save(root / f"{other}.png")
    table = "Testing/b/0.png,A\nTesting/b/1.png,B\nTraining/a/4.png,B\nTesting/b/5.png,C\nTesting/b/6.png,C\n"
    (root / "patients.csv").write_text(f"image,patient\n{table}")
    facts, prepared = audit(root).facts, prepare(root, image_size=16, seed=0)
    groups, unseen, labels = (
        np.load(prepared.sealed / f"{name}.npy") for name in ("groups", "unseen", "labels")
    )
    assert prepared.summary["unseen"] == {"a": 5, "b": 5}
    for number, name in enumerate("ab"):
        shift, own = facts["origin"][name], unseen & (labels == number)
        assert (shift["n"], shift["groups"]) == (own.sum(), len(set(groups[own]))) == (5, 4)
    assert facts["patients"]["leaked"] == prepared.summary["patients"]["across"] == 1
