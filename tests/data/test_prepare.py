import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tune_brain.data import prepare as module
from tune_brain.data.cache import decode
from tune_brain.data.catalogue import scan
from tune_brain.data.demo import CLASSES
from tune_brain.data.describe import describe
from tune_brain.data.prepare import Prepared, prepare
from tune_brain.data.similarity import unit_vectors
from tune_brain.errors import DataError

Writer = Callable[..., Path]
Slices = Callable[..., NDArray[np.uint8]]


def some(part: str, n: int, classes: str = "ab") -> list[str]:
    return [f"{part}{name}/{i}.png" for name in classes for i in range(n)]


def sealed(prepared: Prepared, name: str) -> NDArray[Any]:
    array: NDArray[Any] = np.load(prepared.sealed / f"{name}.npy")
    return array


def test_left_out_names_of_any_kind_are_escaped(folder: Path) -> None:
    for name in ("Training/a/\udcff.png", "Training/a/\x1b[2J\nforged.txt"):
        (folder / name).touch()
    summary = prepare(folder, image_size=16, seed=0).summary
    assert {reason: group["names"] for reason, group in summary["left_out"].items()} == {
        "empty file": [r"Training/a/\xff.png"],
        "not a JPEG or PNG file": [r"Training/a/\x1b[2J\nforged.txt"],
    }
    "\n".join(describe(summary)).encode()


def test_arrays_are_consistent_with_each_other_and_the_summary(demo: Path) -> None:
    prepared = prepare(demo, image_size=24, seed=0)
    development, summary = prepared.development(), prepared.summary
    assert development.classes == prepared.classes == CLASSES
    for part, images in (("train", development.train), ("validation", development.validation)):
        n = len(images.labels)
        assert images.pixels.shape == (n, 1, 24, 24)
        assert images.thumbnails.shape == (n, 32, 32)
        assert isinstance(images.pixels.base, np.memmap)
        assert list(summary["counts"][part].values()) == np.bincount(images.labels, minlength=4).tolist()
        assert min(summary["counts"][part].values()) > 0
    n = len(sealed(prepared, "labels"))
    assert n == 24
    assert sealed(prepared, "pixels").shape == (n, 1, 24, 24)
    assert sealed(prepared, "thumbnails").shape == (n, 32, 32)
    assert sealed(prepared, "groups").shape == (n,)
    names = json.loads((prepared.sealed / "names.json").read_text())
    decoded, _ = decode([demo / name for name in names], 24)
    assert (decoded.pixels == sealed(prepared, "pixels")).all()
    assert [CLASSES.index(name.split("/")[1]) for name in names] == sealed(prepared, "labels").tolist()
    assert sum(summary["official"].values()) == n
    assert (
        sum(summary["unseen"].values()) == sealed(prepared, "unseen").sum() == n - summary["twins"]["across"]
    )
    assert summary["twins"] == {"groups": 8, "images": 16, "across": 4}
    assert summary["left_out"] == {}
    assert summary["dropped"] == 0
    assert summary == json.loads(json.dumps(summary))


def test_validation_has_no_twin_in_training_and_unseen_images_have_none(demo: Path) -> None:
    prepared = prepare(demo, image_size=24, seed=1)
    development = prepared.development()
    train, validation, test = (
        unit_vectors(np.asarray(thumbnails))
        for thumbnails in (
            development.train.thumbnails,
            development.validation.thumbnails,
            sealed(prepared, "thumbnails"),
        )
    )
    assert (train @ validation.T).max() < 0.995
    twin = (test @ np.concatenate([train, validation]).T).max(axis=1) >= 0.995
    assert (sealed(prepared, "unseen") == ~twin).all()
    assert twin.any()


def test_blocks_and_their_twins_stay_together(slices: Slices, tmp_path: Path) -> None:
    place, size = {}, {"Training": 11, "Testing": 20}
    for number, name in enumerate(("Training/a", "Training/b", "Testing/a", "Testing/b")):
        images = slices(8, 10, seed=number)
        images[45] = images[5]  # joins two blocks
        (tmp_path / name).mkdir(parents=True)
        for i, pixels in enumerate(images.repeat(2, axis=1).repeat(2, axis=2)):
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
            block = size[name.split("/")[0]]
            place[pixels.tobytes()] = (name, 5 // block if i // block == 45 // block else i // block)
    for seed in range(2):
        prepared = prepare(tmp_path, image_size=16, seed=seed)
        development = prepared.development()
        train, validation = (
            {place[pixels.tobytes()] for pixels in images.pixels}
            for images in (development.train, development.validation)
        )
        assert not train & validation
        assert len(train | validation) == 2 * 7
        assert prepared.summary["parted"] == ["a", "b"]
    test = [place[pixels.tobytes()] for pixels in sealed(prepared, "pixels")]
    groups = sealed(prepared, "groups")
    assert len(set(test)) == len(set(groups)) == len(set(zip(test, groups.tolist(), strict=True))) == 6


def test_a_second_call_uses_the_cache(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[tuple[int, int]] = []
    first = prepare(demo, image_size=24, seed=0, advance=lambda done, total: reports.append((done, total)))
    assert reports[-1] == (88, 88)

    def again(*_: object) -> None:
        raise AssertionError("decoded twice")

    monkeypatch.setattr(module, "decode", again)
    assert prepare(demo, image_size=24, seed=0) == first


def test_every_change_invalidates_the_cache(write: Writer) -> None:
    root = write(*some("", 12))
    folders = {prepare(root, image_size=16, seed=0).folder}
    folders.add(prepare(root, image_size=17, seed=0).folder)
    folders.add(prepare(root, image_size=16, seed=1).folder)
    os.utime(root / "a/0.png", ns=(1, 1))
    folders.add(prepare(root, image_size=16, seed=0).folder)
    (root / "a/0.png").rename(root / "a/100.png")
    folders.add(prepare(root, image_size=16, seed=0).folder)
    (root / "notes.txt").touch()
    folders.add(prepare(root, image_size=16, seed=0).folder)
    assert len(folders) == 6


def test_a_damaged_cache_is_rebuilt(write: Writer) -> None:
    root = write(*some("", 12))
    prepared = prepare(root, image_size=16, seed=0)
    before = prepared.development().train.pixels.tobytes()
    (prepared.folder / "train/pixels.npy").write_bytes(b"")
    assert prepare(root, image_size=16, seed=0).development().train.pixels.tobytes() == before


def test_the_seed_determines_the_split_and_pixels_match_their_labels(write: Writer) -> None:
    root = write(*some("", 30))
    for i, name in enumerate(some("", 30)):
        pixels = np.random.default_rng(i).integers(0, 100, (20, 20), np.uint8) + 150 * (i >= 30)
        pixels[0, 0] = i
        Image.fromarray(pixels.astype(np.uint8)).save(root / name)
    marks = []
    for seed in (0, 0, 1):
        validation = prepare(root, image_size=20, seed=seed).development().validation
        assert (validation.labels == (validation.pixels[:, 0, 9, 9] >= 150)).all()
        assert (validation.labels == (validation.pixels[:, 0, 0, 0] >= 30)).all()
        marks.append((validation.labels.tolist(), validation.pixels[:, 0, 0, 0].tolist()))
    assert marks[0] == marks[1] != marks[2]


def test_one_folder_is_split_in_three(write: Writer) -> None:
    root = write(*some("", 50))
    shutil.copy(root / "a/1.png", root / "a/twin.png")
    counts = prepare(root, image_size=16, seed=0).summary["counts"]
    assert sum(sum(part.values()) for part in counts.values()) == 101
    assert counts["test"] == {"a": pytest.approx(10, abs=1), "b": 10}
    assert counts["validation"] == {"a": pytest.approx(6, abs=1), "b": 6}
    for seed in range(3):
        prepared = prepare(root, image_size=16, seed=seed)
        assert sealed(prepared, "unseen").all()
        assert prepared.summary["twins"]["across"] == 0


def test_a_given_validation_part_is_kept_and_its_twins_are_dropped(write: Writer) -> None:
    root = write(*some("train/", 6), *some("val/", 3), *some("test/", 4))
    shutil.copy(root / "val/a/0.png", root / "train/a/2.png")
    shutil.copy(root / "val/a/0.png", root / "train/a/3.png")
    shutil.copy(root / "train/a/2.png", root / "test/a/0.png")
    shutil.copy(root / "train/b/5.png", root / "test/b/0.png")
    prepared = prepare(root, image_size=16, seed=0)
    assert prepared.summary["counts"] == {
        "train": {"a": 4, "b": 6},
        "validation": {"a": 3, "b": 3},
        "test": {"a": 4, "b": 4},
    }
    assert prepared.summary["dropped"] == 2
    assert prepared.summary["unseen"] == {"a": 3, "b": 3}
    names = json.loads((prepared.sealed / "names.json").read_text())
    seen = [name for name, unseen in zip(names, sealed(prepared, "unseen"), strict=True) if not unseen]
    assert seen == ["test/a/0.png", "test/b/0.png"]


def test_mirrored_twins_of_validation_images_are_dropped(write: Writer) -> None:
    root = write(*some("train/", 12), *some("test/", 2))
    for label, i in itertools.product("ab", range(6)):
        with Image.open(root / f"train/{label}/{i}.png") as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / f"train/{label}/{i + 6}.png")
    prepared = prepare(root, image_size=16, seed=0)
    development = prepared.development()
    mirrored, validation = (
        unit_vectors(np.asarray(thumbnails))
        for thumbnails in (development.train.thumbnails[:, :, ::-1], development.validation.thumbnails)
    )
    assert (mirrored @ validation.T).max() < 0.995
    assert prepared.summary["dropped"] == sum(prepared.summary["counts"]["validation"].values())


def test_a_mirrored_copy_in_training_makes_a_test_image_seen(write: Writer) -> None:
    root = write(*some("train/", 12), *some("test/", 3))
    with Image.open(root / "test/a/0.png") as image:
        ImageOps.mirror(image).save(root / "train/a/3.png")
    assert prepare(root, image_size=16, seed=0).summary["unseen"] == {"a": 2, "b": 3}


def test_mirrored_copies_within_the_test_are_one_group(write: Writer) -> None:
    root = write(*some("train/", 12), *some("test/", 3))
    with Image.open(root / "test/a/0.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "test/b/2.png")
    prepared = prepare(root, image_size=16, seed=0)
    names = json.loads((prepared.sealed / "names.json").read_text())
    groups = dict(zip(names, sealed(prepared, "groups").tolist(), strict=True))
    assert groups["test/a/0.png"] == groups["test/b/2.png"]
    assert len(set(groups.values())) == 5


def test_a_class_whose_training_images_are_all_in_validation_is_refused(write: Writer) -> None:
    root = write(*some("train/", 2), *some("val/", 2), *some("test/", 1))
    for i in range(2):
        shutil.copy(root / f"val/a/{i}.png", root / f"train/a/{i}.png")
    with pytest.raises(DataError, match="found: none in a"):
        prepare(root, image_size=16, seed=0)


def test_a_class_of_one_image_and_its_mirror_image_is_refused(write: Writer) -> None:
    root = write(*some("train/", 6), *some("test/", 1))
    for i in range(1, 6):
        (root / f"train/a/{i}.png").unlink()
    with Image.open(root / "train/a/0.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "train/a/1.png")
    with pytest.raises(DataError, match=r"(?s)found: none in a\.\nAdd images"):
        prepare(root, image_size=16, seed=0)


def test_unreadable_images_are_counted_and_left_out(write: Writer) -> None:
    root = write(*some("Training/", 8), *some("Testing/", 3), "Testing/a/.ipynb_checkpoints/0.png")
    for i in range(6):
        (root / f"Training/b/broken{i}.jpg").write_bytes(b"nothing")
    whole = (root / "Testing/b/1.png").read_bytes()
    (root / "Testing/b/1.png").write_bytes(whole[: len(whole) // 2])
    summary = prepare(root, image_size=16, seed=0).summary
    assert summary["official"] == {"a": 3, "b": 2}
    assert summary["left_out"] == {
        "not an image inside": {"n": 6, "names": [f"Training/b/broken{i}.jpg" for i in range(5)]},
        "truncated or damaged": {"n": 1, "names": ["Testing/b/1.png"]},
        "hidden folder": {"n": 1, "names": ["Testing/a/.ipynb_checkpoints"]},
    }


def test_a_class_with_too_few_readable_images_is_refused(write: Writer) -> None:
    root = write(*some("", 4))
    for i in range(3):
        (root / f"b/{i}.png").write_bytes(b"nothing")
    with pytest.raises(
        DataError, match=r"found: b has 1 \(3 left out, such as b/0.png: not an image inside\)"
    ):
        prepare(root, image_size=16, seed=0)


def test_names_may_use_any_alphabet(write: Writer) -> None:
    names = [
        f"{part}{name}" for part in ("Training/", "Testing/") for name in ("опухоль/é {}.png", "b/{}.png")
    ]
    root = write(*(name.format(i) for name in names for i in range(3)))
    (root / os.fsdecode(b"Testing/b/\xff.png")).write_bytes((root / "Testing/b/0.png").read_bytes())
    prepared = prepare(root, image_size=16, seed=0)
    assert prepared.classes == ("b", "опухоль")
    assert prepared.summary["official"]["b"] == 4


@pytest.mark.slow
@pytest.mark.parametrize(("name", "unseen"), [("sartaj", 135), ("nickparvar", 331)])
def test_published_data_sets(real: Path, name: str, unseen: int) -> None:
    prepared = prepare(real / name, image_size=16, seed=0)
    assert sum(prepared.summary["unseen"].values()) == pytest.approx(unseen, abs=3)
    counts = prepared.summary["counts"]
    for label in prepared.classes:
        share = counts["validation"][label] / (counts["validation"][label] + counts["train"][label])
        assert share == pytest.approx(0.15, abs=0.02)
    kept = sum(sum(part.values()) for part in counts.values())
    assert len(scan(real / name).images) == kept + prepared.summary["dropped"]
