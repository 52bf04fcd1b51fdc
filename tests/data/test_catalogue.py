from collections.abc import Callable
from pathlib import Path

import pytest

from tune_brain.data.catalogue import natural, scan
from tune_brain.errors import DataError

Writer = Callable[..., Path]
TWO = ("a/1.png", "a/2.png", "b/1.png", "b/2.png")


def below(part: str, names: tuple[str, ...] = TWO) -> list[str]:
    return [f"{part}/{name}" for name in names]


@pytest.mark.parametrize(
    "parts",
    [
        {"Training": "train", "Testing": "test"},
        {"train": "train", "test": "test"},
        {"TRAIN": "train", "Val": "validation", "Test": "test"},
        {"training": "train", "valid": "validation", "testing": "test"},
        {"train": "train", "validation": "validation", "test": "test"},
    ],
)
def test_layouts_in_parts(write: Writer, parts: dict[str, str]) -> None:
    root = write(*(name for folder in parts for name in below(folder)))
    catalogue = scan(root)
    assert catalogue.classes == ("a", "b")
    assert catalogue.parts == tuple(parts.values())
    assert {(image.name, image.label, image.part) for image in catalogue.images} == {
        (f"{folder}/{name}", "ab".index(name[0]), part) for folder, part in parts.items() for name in TWO
    }
    assert catalogue.left_out == ()


def test_in_one_folder_of_class_folders_everything_is_training(write: Writer) -> None:
    catalogue = scan(write(*TWO, "c/1.JPG", "c/2.jpeg"))
    assert catalogue.classes == ("a", "b", "c")
    assert {image.part for image in catalogue.images} == {"train"}
    assert len(catalogue.images) == 6


def test_images_are_sorted_in_natural_order(write: Writer) -> None:
    names = ("a/m (10).png", "a/m (2).png", "a/m (1).png", "a/g (3).png", *TWO[2:])
    catalogue = scan(write(*names))
    assert [image.name for image in catalogue.images[:4]] == [
        "a/g (3).png",
        "a/m (1).png",
        "a/m (2).png",
        "a/m (10).png",
    ]
    assert sorted(["x2", "x10", "x", "2", "x02", "10"], key=natural) == ["2", "10", "x", "x02", "x2", "x10"]


def test_other_files_are_listed_and_left_out(write: Writer) -> None:
    root = write(
        *below("Training"),
        *below("Testing"),
        "Testing/b/.ipynb_checkpoints/1.png",
        "Testing/b/._1.png",
        "Training/a/deeper/1.png",
        "Training/1.png",
        "__MACOSX/Training/a/1.png",
        "masks/1.png",
    )
    (root / "Training/a/Thumbs.db").write_bytes(b"")
    (root / "Training/c").write_text("a file where a class folder should be")
    (root / "Training/a/gone.png").symlink_to(root / "nowhere.png")
    catalogue = scan(root)
    assert len(catalogue.images) == 8
    assert {left.name: left.reason for left in catalogue.left_out} == {
        "Testing/b/.ipynb_checkpoints": "hidden folder",
        "Testing/b/._1.png": "hidden file",
        "Training/a/deeper": "folder inside a class folder",
        "Training/1.png": "image beside the class folders",
        "__MACOSX": "hidden folder",
        "masks": "folder beside the parts",
        "Training/a/Thumbs.db": "not a JPEG or PNG file",
        "Training/c": "not a JPEG or PNG file",
        "Training/a/gone.png": "link to nothing",
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.png", "a/2.png"], "at least two class folders; found: a"),
        (["1.png"], "at least two class folders; found: none"),
        (["a/1.png", "b/1.png", "b/2.png"], "at least 2 to train on; found: a has 1"),
        (["a/1.png", "a/2.png", "b/.1.png"], r"found: b has 0 \(1 left out, such as b/.1.png: hidden file\)"),
        ([*below("train"), "test/a/1.png", "test/b/.1.png"], "at least 1 to test on; found: b has 0"),
        (
            ["a/1.png", "a/2.png", "b/.1.png", "b/p1/1.png", "b/p2/1.png"],
            r"found: b has 0 \(3 left out, such as .*\)\.\nAdd .*\nImages in folders inside",
        ),
        ([*below("train"), "test/a/1.png"], "same class folders; found: train: a, b; test: a.\nRename.*: b"),
        ([*below("train"), "test/1.png"], "train: a, b; test: none.\nRemove test"),
        (
            [*below("train", ("a/1.png", "\u00e9/1.png")), *below("test", ("a/1.png", "e\u0301/1.png"))],
            "only in how their accents are encoded",
        ),
        (
            [*below("train"), *below("test"), *below("val", ("a/1.png", "c/1.png"))],
            "found: train: a, b; val: a, c",
        ),
        (below("train"), "no test folder"),
        (below("Testing"), "no train folder"),
        (
            [*below("train"), *below("Training"), *below("test")],
            "found: (Training and train|train and Train)",
        ),
    ],
)
def test_unusable_folders_are_refused(write: Writer, names: list[str], message: str) -> None:
    root = write(*names)
    with pytest.raises(DataError, match=message):
        scan(root)


def test_an_error_lists_only_the_left_out_files_of_the_class(write: Writer) -> None:
    root = write(
        *below("Training"),
        *below("Testing", ("b/1.png", "a/.1.png", "a/.2.png", "b/.1.png")),
        "Training/a/.9.png",
        "masks/a/1.png",
    )
    with pytest.raises(
        DataError, match=r"found: a has 0 \(2 left out, such as Testing/a/.1.png: hidden file\)\."
    ):
        scan(root)


def test_a_missing_folder_a_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        scan(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        scan(tmp_path / "file")
    with pytest.raises(DataError, match="found: none"):
        scan(tmp_path)


def test_a_real_folder_with_a_hidden_one_inside(real: Path) -> None:
    catalogue = scan(real / "nickparvar")
    assert [left.name for left in catalogue.left_out] == ["Testing/meningioma/.ipynb_checkpoints"]
    assert len(catalogue.images) == 5_708 + 1_311
