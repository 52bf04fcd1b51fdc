"""`patients.csv`: a patient's images never cross a split, and no training patient is in the unseen test."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tune_brain.data import prepare as preparing
from tune_brain.data.audit import audit
from tune_brain.data.catalogue import scan
from tune_brain.data.combine import combine
from tune_brain.data.describe import describe
from tune_brain.data.findings import faults
from tune_brain.data.patients import patient_names
from tune_brain.data.prepare import Prepared, prepare
from tune_brain.errors import DataError

Writer = Callable[..., Path]
PARTED = [
    f"{part}/{name}/{i}.png"
    for part, n in (("Training", 8), ("Testing", 3))
    for name in "ab"
    for i in range(n)
]


def listed(root: Path, patients: Mapping[str, object]) -> None:
    lines = [f"{image},{patient}\n" for image, patient in patients.items()]
    (root / "patients.csv").write_text("image,patient\n" + "".join(lines))


def parts_of(prepared: Prepared, root: Path) -> dict[str, str]:
    """The part of each image of a folder, by its path; dropped images have none."""
    images = {np.asarray(Image.open(path)).tobytes(): path for path in root.rglob("*.png")}
    folders = {"train": "train", "validation": "validation", "test": "sealed"}
    return {
        images[pixels.tobytes()].relative_to(root).as_posix(): part
        for part, folder in folders.items()
        for pixels in np.load(prepared.folder / folder / "pixels.npy")
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_images_of_a_patient_stay_in_one_part(write: Writer, seed: int) -> None:
    names = [f"{name}/{i}.png" for name in "ab" for i in range(60)]
    root = write(*names)
    # Scattered over file numbers and classes, so that only the table can tell.
    patients = dict(zip(names, np.random.default_rng(seed).permutation(120) // 5, strict=True))
    listed(root, patients)
    prepared = prepare(root, image_size=24, seed=seed)
    parts = parts_of(prepared, root)
    assert len(parts) == 120
    assert prepared.summary["left_out"] == {}
    assert len({(patients[name], part) for name, part in parts.items()}) == 24
    assert set(parts.values()) == {"train", "validation", "test"}
    groups = np.load(prepared.sealed / "groups.npy")
    assert len(set(groups)) == len({patients[name] for name, part in parts.items() if part == "test"})


def test_a_test_image_of_a_patient_in_training_is_not_unseen(write: Writer) -> None:
    root = write(*PARTED)
    listed(
        root,
        {"Training/a/0.png": "A", "Testing/a/0.png": "A", "Testing/b/1.png": "B", "Training/b/1.png": "C"},
    )
    prepared = prepare(root, image_size=24, seed=0)
    names = [image.name for image in scan(root).images if image.part == "test"]
    unseen = dict(zip(names, np.load(prepared.sealed / "unseen.npy"), strict=True))
    assert [name for name in names if not unseen[name]] == ["Testing/a/0.png"]
    summary = prepared.summary
    assert summary["patients"] == {"known": 3, "images": 4, "unlisted": 18, "across": 1}
    assert (summary["twins"]["across"], sum(summary["unseen"].values())) == (0, 5)
    lines = "\n".join(describe(summary))
    assert "patients.csv names 3 patients of 4 images and not those of 18: " in lines
    assert (
        "1 of 6 test images has a twin or another slice of their patient outside the test: 5 unseen" in lines
    )


def test_training_images_of_a_patient_in_validation_are_dropped(write: Writer) -> None:
    root = write(*PARTED, *(f"Validation/{name}/{i}.png" for name in "ab" for i in range(2)))
    listed(root, {"Training/a/0.png": "A", "Training/b/1.png": "A", "Validation/a/0.png": "A"})
    prepared = prepare(root, image_size=24, seed=0)
    assert {*PARTED} - {*parts_of(prepared, root)} == {"Training/a/0.png", "Training/b/1.png"}
    assert prepared.summary["dropped"] == 2


def test_another_table_means_other_prepared_data(write: Writer) -> None:
    root = write(*PARTED)
    before = prepare(root, image_size=24, seed=0).summary
    assert before["patients"] == {"known": 0, "images": 0, "unlisted": 22, "across": 0}
    # The parts stay as they are: what changes is who else is a relative.
    listed(root, {"Testing/a/0.png": "A", "Testing/a/1.png": "B"})
    after = prepare(root, image_size=24, seed=0).summary
    assert after["cut_digest"] == before["cut_digest"]
    assert after["order_digest"] != before["order_digest"]
    # The order of the rows, and images that are not here, mean nothing.
    listed(root, {"elsewhere.png": "C", "Testing/a/1.png": "B", "Testing/a/0.png": "A"})
    assert prepare(root, image_size=24, seed=0).summary == after
    assert after["left_out"] == {}


def test_a_spreadsheets_byte_order_mark_and_line_ends_are_understood(write: Writer) -> None:
    root = write(*PARTED)
    (root / "patients.csv").write_bytes(b"\xef\xbb\xbfimage,patient\r\n./Testing/a/0.png, P 1 \r\n\r\n")
    assert patient_names(root, PARTED) == {"Testing/a/0.png": "P 1"}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "its first line is empty"),
        ("image;patient\n", "its first line is another"),
        ("Testing/a/0.png,Jane\n", "its first line is another"),
        ("image,patient\nTesting/a/0.png\n", "row 2 does not consist of one image and one patient"),
        ("image,patient\nTesting/a/0.png, \n", "row 2 does not consist of one image and one patient"),
        ("image,patient\nTesting/a/0.png,A,1\n", "row 2 does not consist of one image and one patient"),
        (
            "image,patient\nTesting/a/0.png,A\nTesting/a/0.png,B\n",
            "row 3 names a second patient for Testing/a/0.png",
        ),
        ('image,patient\n"Testing/a/0.png,A\n', "unexpected end of data"),
        ("image,patient\n0.png,A\n", "it lists 0.png, which is no image here"),
        ("image,patient\n", "it lists nothing, which is no image here"),
    ],
)
def test_an_unusable_table_is_refused(
    write: Writer, monkeypatch: pytest.MonkeyPatch, content: str, found: str
) -> None:
    root = write(*PARTED)
    (root / "patients.csv").write_text(content)
    # Before any image is decoded, which may take minutes.
    monkeypatch.setattr(preparing, "decode", None)
    with pytest.raises(DataError, match=r"must have the columns image,patient") as caught:
        prepare(root, image_size=24, seed=0)
    assert str(caught.value).split("patients.csv: ")[1].startswith(found)


def test_an_audit_finds_patients_of_the_test_in_training(write: Writer) -> None:
    root = write(*PARTED)
    assert audit(root).facts["patients"] == {"known": 0, "images": 0, "leaked": 0}
    seen = {"Training/a/0.png": "A", "Testing/a/0.png": "A"}
    listed(root, {**seen, "Testing/b/0.png": "B", "Testing/b/2.png": "B"})
    facts = audit(root).facts
    assert facts["patients"] == {"known": 2, "images": 4, "leaked": 1}
    assert facts["floor"]["majority"]["unseen"]["n"] == 5
    assert {name: (of["n"], of["groups"]) for name, of in facts["origin"].items()} == {
        "a": (2, 2),
        "b": (3, 2),
    }
    assert faults(facts) == ["1 test image shows a patient who is also in training."]
    assert facts["files"]["left_out"] == {}


def test_combined_folders_keep_their_patients_apart(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = folders
    listed(first, {f"Training/glioma_tumor/{i}.png": 1 for i in range(4)})
    listed(second, {"Training\\Glioma\\0.png": 1})
    with pytest.raises(DataError, match="must have the columns image,patient"):
        combine(folders, tmp_path / "both", rules={})
    listed(second, {"Glioma/0.png": 1})
    rows = combine(folders, tmp_path / "both", rules={})
    files = {(row.source, row.original): row.file for row in rows}
    assert patient_names(tmp_path / "both", files.values()) == {
        **{files["first", f"Training/glioma_tumor/{i}.png"]: "first/1" for i in range(4)},
        files["second", "Glioma/0.png"]: "second/1",
    }
    assert Counter(scan(tmp_path / "both").left_out) == Counter()
