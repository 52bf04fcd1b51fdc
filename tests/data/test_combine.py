"""Several folders as one: whose images, which classes, and no test picture in training."""

import csv
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import phantom, save
from PIL import Image, ImageOps
from typer.testing import CliRunner

from tune_brain import cli
from tune_brain.data.audit import audit
from tune_brain.data.catalogue import scan
from tune_brain.data.combine import _place, combine, provenance, told
from tune_brain.data.demo import draw
from tune_brain.data.findings import faults
from tune_brain.data.prepare import prepare
from tune_brain.data.spellings import class_names, parse_rules, spelled
from tune_brain.errors import ConfigError, DataError, TuneBrainError
from tune_brain.evaluate.scores import marked

Folders = tuple[Path, Path]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Two sets of distinct phantoms, each spelled in its own way; the second has no test part."""
    first, second = tmp_path / "first", tmp_path / "second"
    for number, (part, n) in enumerate((("Training", 4), ("Testing", 2))):
        for place, name in enumerate(("glioma_tumor", "no_tumor")):
            for i in range(n):
                save(first / part / name / f"{i}.png", phantom(100 * number + 10 * place + i))
    for place, name in enumerate(("Glioma", "notumor")):
        for i in range(4):
            save(second / name / f"{i}.png", phantom(1000 + 10 * place + i))
    return first, second


def written(to: Path) -> list[dict[str, str]]:
    with (to / "sources.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_image_keeps_its_part_and_the_name_of_its_source(folders: Folders, tmp_path: Path) -> None:
    to = tmp_path / "both"
    combine(folders, to, rules={})
    catalogue = scan(to)
    assert catalogue.classes == ("glioma", "notumor")
    assert catalogue.left_out == ()
    rows = written(to)
    assert {row["file"] for row in rows} == {image.name for image in catalogue.images}
    assert len(rows) == 20
    for row in rows:
        original = tmp_path / row["source"] / row["original"]
        assert (to / row["file"]).samefile(original)
        assert row["part"] == ("test" if row["original"].startswith("Testing") else "train")
        assert row["file"].startswith(f"{'Testing' if row['part'] == 'test' else 'Training'}/{row['label']}/")
    assert len({row["group"] for row in rows}) == 20
    assert provenance(to) == {"sources": {"first": 12, "second": 8}, "allowed_leak": 0}
    assert provenance(folders[0]) == {}


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "copy": lambda image: image,
    "resized": lambda image: image.resize((100, 90)),
    "mirrored": ImageOps.mirror,
    "cropped": lambda image: image.crop((4, 4, image.width - 4, image.height - 4)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_twin_of_a_test_image_of_any_source_never_enters_training(
    folders: Folders, tmp_path: Path, change: str
) -> None:
    first, second = folders
    leaked = draw("glioma", np.random.default_rng(5)).resize((128, 128))
    save(first / "Testing/glioma_tumor/0.png", leaked)
    save(second / "Glioma/leak.png", CHANGES[change](leaked))
    rows = combine(folders, tmp_path / "both", rules={})
    (gone,) = (row for row in rows if row.left_out)
    assert (gone.source, gone.original, gone.file) == ("second", "Glioma/leak.png", "")
    assert gone.left_out == "twin in a test part"
    (twin,) = (row for row in rows if row.group == gone.group and row is not gone)
    assert twin.original == "Testing/glioma_tumor/0.png"
    summary = prepare(tmp_path / "both", image_size=32, seed=0).summary
    assert summary["unseen"] == summary["official"]
    assert faults(audit(tmp_path / "both").facts) == []
    assert "  left out of train, twin in a test part: 1" in told(rows)
    assert "1 picture stands in more than one source" in told(rows)


def test_a_leak_that_was_allowed_is_written_into_every_score(folders: Folders, tmp_path: Path) -> None:
    first, second = folders
    for name in ("x", "y"):
        save(second / f"Glioma/{name}.png", Image.open(first / "Testing/glioma_tumor/0.png"))
    rows = combine(folders, tmp_path / "both", rules={}, allow_leak=True)
    assert [row.original for row in rows if row.twin_in_test] == ["Glioma/x.png", "Glioma/y.png"]
    summary = prepare(tmp_path / "both", image_size=32, seed=0).summary
    assert (summary["allowed_leak"], summary["sources"]) == (2, {"first": 12, "second": 10})
    scores = {"cnn": {part: {"n": 4, "accuracy": {"mean": 0.5}} for part in ("official", "unseen")}}
    for part in marked(scores, summary["allowed_leak"])["cnn"].values():
        assert part == {"allowed_leak": 2, "n": 4, "accuracy": {"mean": 0.5}}
    assert marked(scores, 0) == scores


def test_a_picture_with_two_labels_is_in_no_part(folders: Folders, tmp_path: Path) -> None:
    first, second = folders
    save(second / "notumor/x.png", Image.open(first / "Testing/glioma_tumor/0.png"))
    save(second / "notumor/y.png", Image.open(first / "Training/glioma_tumor/0.png"))
    rows = combine(folders, tmp_path / "both", rules={}, allow_leak=True)
    assert {row.original for row in rows if row.left_out == "twins with two labels"} == {
        "Testing/glioma_tumor/0.png",
        "Training/glioma_tumor/0.png",
        "notumor/x.png",
        "notumor/y.png",
    }
    assert len(scan(tmp_path / "both").images) == 18


def test_twins_across_sources_stay_on_one_side_of_a_cut(tmp_path: Path) -> None:
    for source in ("one", "two"):
        for place, name in enumerate("ab"):
            for i in range(12):
                save(tmp_path / source / name / f"{i}.png", phantom(100 * place + i))
    rows = combine([tmp_path / "one", tmp_path / "two"], tmp_path / "both", rules={})
    assert len({row.group for row in rows}) == 24
    prepared = prepare(tmp_path / "both", image_size=32, seed=0)
    assert prepared.summary["unseen"] == prepared.summary["official"]
    assert prepared.summary["dropped"] == 0
    development = prepared.development()
    trained, held = (
        {one.tobytes() for one in part.pixels} for part in (development.train, development.validation)
    )
    assert held
    assert trained.isdisjoint(held)


def test_files_of_one_name_and_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for number, root in enumerate(("x/set", "y/set")):
        for place, name in enumerate(("a", "b", "c")):
            for i in range(3):
                save(tmp_path / root / name / f"{i}.png", phantom(100 * number + 10 * place + i))
    to = tmp_path / "both"
    rows = combine([tmp_path / "x/set", tmp_path / "y/set"], to, rules={"c": "b"})
    assert {row.source for row in rows} == {"set", "set-2"}
    assert len({row.file for row in rows}) == len(rows) == 18
    assert scan(to).left_out == ()
    assert {row.file for row in rows} == {image.name for image in scan(to).images}


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("linked", [True, False])
def test_no_image_of_a_source_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for number, name in enumerate(("a/b-x", "a/x", "b/x", "b/y", "c/x", "c/y")):
        save(one / f"{name}.png", phantom(number))
    for number, name in enumerate(("a/1", "a/2", "c/1", "c/2")):
        save(two / f"{name}.png", phantom(100 + number))

    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    if not linked:
        monkeypatch.setattr(os, "link", refused)
    before = hashes(tmp_path)
    to = tmp_path / "both"
    rows = combine([one, two], to, rules={"b": "a"})
    assert {path: digest for path, digest in hashes(tmp_path).items() if path in before} == before
    assert len({row.file for row in rows}) == len(rows) == 10
    for row in rows:
        original = tmp_path / row.source / row.original
        assert (to / row.file).read_bytes() == original.read_bytes()
        assert (to / row.file).samefile(original) == linked


def test_what_stands_in_the_way_is_not_written_to(tmp_path: Path) -> None:
    save(tmp_path / "original.png", phantom(0))
    save(tmp_path / "there.png", phantom(1))
    before = hashes(tmp_path)
    with pytest.raises(FileExistsError):
        _place(tmp_path / "original.png", tmp_path / "there.png")
    assert hashes(tmp_path) == before


def test_unreadable_images_are_left_out_and_said(folders: Folders, tmp_path: Path) -> None:
    (folders[1] / "Glioma/broken.png").write_bytes(b"no image")
    rows = combine(folders, tmp_path / "both", rules={})
    assert [row.original for row in rows if row.left_out == "unreadable"] == ["Glioma/broken.png"]


def test_a_changed_manifest_is_another_data_set_to_the_cache(folders: Folders, tmp_path: Path) -> None:
    to = tmp_path / "both"
    combine(folders, to, rules={})
    before = prepare(to, image_size=32, seed=0)
    text = (to / "sources.csv").read_text()
    (to / "sources.csv").write_text(text.replace(",second,", ",other,"))
    assert prepare(to, image_size=32, seed=0).summary["sources"] == {"first": 12, "other": 8}
    assert before.summary["sources"] == {"first": 12, "second": 8}
    (to / "sources.csv").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"sources\.csv must be as"):
        prepare(to, image_size=32, seed=0)


@pytest.mark.parametrize("name", ["first", "first/inside", "taken"])
def test_the_new_folder_is_new_and_outside(folders: Folders, tmp_path: Path, name: str) -> None:
    save(tmp_path / "taken/1.png", phantom(0))
    with pytest.raises(ConfigError, match=r"combine (needs a new folder|writes nothing)"):
        combine(folders, tmp_path / name, rules={})
    with pytest.raises(ConfigError, match="two or more different"):
        combine([folders[0], folders[0]], tmp_path / "both", rules={})


def test_what_cannot_be_combined_leaves_nothing(folders: Folders, tmp_path: Path) -> None:
    for i in range(2):
        save(folders[0] / f"Testing/glioma_tumor/{i}.png", phantom(10))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(TuneBrainError, match="Every"):
        combine(folders, tmp_path / "both", rules={})
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "common"),
    [
        *(
            (name, "notumor")
            for name in ("no_tumor", "notumor", "No Tumour", "no-tumors", "normal", "Healthy")
        ),
        *((name, "glioma") for name in ("glioma", "glioma_tumor", "Glioma Tumour", "gliomas", "GLIOMA")),
        ("meningioma_tumor", "meningioma"),
        ("pituitary tumor", "pituitary"),
        ("Pituitary", "pituitary"),
        ("tumor", "tumor"),
        ("Schwannoma", "Schwannoma"),
        ("<img src=x>", "<img src=x>"),
    ],
)
def test_common_spellings(name: str, common: str) -> None:
    assert spelled(name) == common


def test_a_class_without_a_rule_is_an_error_that_lists_what_exists() -> None:
    classes = {"x": ["glioma_tumor", "no_tumor"], "y": ["glioma", "schwannoma"]}
    with pytest.raises(DataError, match="one of glioma, notumor; found: schwannoma of y") as error:
        class_names(classes, {})
    assert "x: glioma_tumor, no_tumor; y: glioma, schwannoma" in str(error.value)
    mapped = class_names(classes, {"schwannoma": "schwannoma"})
    assert mapped["y"] == {"glioma": "glioma", "schwannoma": "schwannoma"}
    assert class_names(classes, {"schwannoma": "notumor"})["y"]["schwannoma"] == "notumor"
    with pytest.raises(DataError, match="found: astrocytoma"):
        class_names(classes, {"astrocytoma": "glioma"})


@pytest.mark.parametrize("text", ["a", "a=", "=b", "a=b,a=c", "a=../b", "a=.b"])
def test_rules_that_are_none(text: str) -> None:
    with pytest.raises(DataError, match="OLD=NEW"):
        parse_rules(text)
    assert parse_rules("a=b, c d=e") == {"a": "b", "c d": "e"}


def test_the_command_says_what_is_left(folders: Folders, tmp_path: Path) -> None:
    to = tmp_path / "both"
    done = CliRunner().invoke(
        cli.app, ["combine", *map(str, folders), "--to", str(to), "--map", "Glioma=glioma"]
    )
    assert done.exit_code == 0, done.output
    assert "first: 12 of 12 images kept: train 8, test 4" in done.stdout
    assert done.stdout.splitlines()[-1] == str(to)


@pytest.mark.slow
def test_the_two_known_sets(real: Path, tmp_path: Path) -> None:
    rows = combine([real / "sartaj", real / "nickparvar"], tmp_path / "both", rules={})
    summary = prepare(tmp_path / "both", image_size=64, seed=0).summary
    assert list(summary["classes"]) == ["glioma", "meningioma", "notumor", "pituitary"]
    assert summary["unseen"] == summary["official"]
    assert sum(summary["official"].values()) == len([r for r in rows if r.file and r.part == "test"])
    assert sum(summary["sources"].values()) == len([r for r in rows if r.file]) == pytest.approx(7710, abs=5)
    assert faults(audit(tmp_path / "both").facts) == []
