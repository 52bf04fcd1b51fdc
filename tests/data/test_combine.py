"""Combining folders: sources, classes, labels, and what is left out."""

import csv
import errno
import os
import signal
import tempfile
from pathlib import Path

import pytest
from made import files, phantom, save
from PIL import Image
from typer.testing import CliRunner

from tune_brain import cli
from tune_brain.data.audit import audit
from tune_brain.data.catalogue import scan
from tune_brain.data.combine import _place, combine
from tune_brain.data.findings import faults
from tune_brain.data.prepare import prepare
from tune_brain.data.sources import SOURCES, provenance
from tune_brain.errors import ConfigError, DataError, Interrupted, TuneBrainError
from tune_brain.evaluate.scores import marked

Folders = tuple[Path, Path]


def sources(to: Path) -> list[dict[str, str]]:
    with (to / "sources.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_image_keeps_its_part_and_the_name_of_its_source(folders: Folders, tmp_path: Path) -> None:
    to = tmp_path / "both"
    combine(folders, to, rules={})
    catalogue = scan(to)
    assert catalogue.classes == ("glioma", "notumor")
    assert catalogue.left_out == ()
    rows = sources(to)
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


def test_an_allowed_leak_is_recorded_with_every_score(folders: Folders, tmp_path: Path) -> None:
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


def test_a_picture_with_two_labels_is_left_out(folders: Folders, tmp_path: Path) -> None:
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
        {image.tobytes() for image in part.pixels} for part in (development.train, development.validation)
    )
    assert held
    assert trained.isdisjoint(held)


def test_files_and_folders_of_the_same_name_are_distinguished(tmp_path: Path) -> None:
    # Files whose names begin with a dot or two underscores are hidden.
    for number, root in enumerate(("x/.__set", "y/set")):
        for place, name in enumerate(("a", "b", "c")):
            for i in range(3):
                save(tmp_path / root / name / f"{i}.png", phantom(100 * number + 10 * place + i))
    to = tmp_path / "both"
    rows = combine([tmp_path / "x/.__set", tmp_path / "y/set"], to, rules={"c": "b"})
    assert {row.source for row in rows} == {"set", "set-2"}
    assert len({row.file for row in rows}) == len(rows) == 18
    assert scan(to).left_out == ()
    assert {row.file for row in rows} == {image.name for image in scan(to).images}


@pytest.mark.parametrize("linked", [True, False])
def test_source_images_are_never_modified(
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
    before = files(tmp_path)
    to = tmp_path / "both"
    rows = combine([one, two], to, rules={"b": "a"})
    assert {path: content for path, content in files(tmp_path).items() if path in before} == before
    assert len({row.file for row in rows}) == len(rows) == 10
    for row in rows:
        original = tmp_path / row.source / row.original
        assert (to / row.file).read_bytes() == original.read_bytes()
        assert (to / row.file).samefile(original) == linked


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    save(tmp_path / "original.png", phantom(0))
    save(tmp_path / "existing.png", phantom(1))
    before = files(tmp_path)
    with pytest.raises(FileExistsError):
        _place(tmp_path / "original.png", tmp_path / "existing.png")
    assert files(tmp_path) == before


def test_unreadable_images_are_left_out_and_recorded(folders: Folders, tmp_path: Path) -> None:
    (folders[1] / "Glioma/broken.png").write_bytes(b"no image")
    rows = combine(folders, tmp_path / "both", rules={})
    assert [row.original for row in rows if row.left_out == "unreadable"] == ["Glioma/broken.png"]


def test_a_changed_sources_csv_invalidates_the_cache(folders: Folders, tmp_path: Path) -> None:
    to = tmp_path / "both"
    combine(folders, to, rules={})
    before = prepare(to, image_size=32, seed=0)
    text = (to / SOURCES).read_text()
    (to / SOURCES).write_text(text.replace(",second,", ",other,"))
    assert prepare(to, image_size=32, seed=0).summary["sources"] == {"first": 12, "other": 8}
    assert before.summary["sources"] == {"first": 12, "second": 8}
    (to / SOURCES).write_text(text + "x,train\n")
    with pytest.raises(DataError, match=r"sources\.csv is damaged .*: row 22 lacks fields"):
        prepare(to, image_size=32, seed=0)


@pytest.mark.parametrize("content", ["name,hospital\n1.png,Ulm\n", "", "file,part\n"])
def test_a_sources_csv_with_another_header_is_ignored(folders: Folders, content: str) -> None:
    for root in folders:
        (root / SOURCES).write_text(content)
        summary = prepare(root, image_size=32, seed=0).summary
        assert summary["left_out"] == {"not a JPEG or PNG file": {"n": 1, "names": [SOURCES]}}
        assert "sources" not in summary


def test_a_class_whose_training_images_all_leak_is_refused_before_writing(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = folders
    for number, image in enumerate(
        [*(first / "Training/no_tumor").iterdir(), *(second / "notumor").iterdir()]
    ):
        save(first / f"Testing/no_tumor/x{number}.png", Image.open(image))
    monkeypatch.setattr(tempfile, "TemporaryDirectory", None)
    with pytest.raises(DataError, match="found: 0 of 8 train images of notumor") as error:
        combine(folders, tmp_path / "both", rules={})
    assert "Left out: twin in a test part (8)." in error.value.remedy
    assert "--allow-leak" in error.value.remedy
    monkeypatch.undo()
    assert combine(folders, tmp_path / "both", rules={}, allow_leak=True)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_command_leaves_nothing_behind(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: signal.Signals
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())
    handler = signal.getsignal(end)
    monkeypatch.setattr(os, "link", lambda *_: os.kill(os.getpid(), end))
    with pytest.raises(Interrupted, match="nothing of the new folder is kept"):
        combine(folders, tmp_path / "both", rules={})
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert signal.getsignal(end) is handler


@pytest.mark.parametrize("name", ["first", "first/inside", "taken"])
def test_the_new_folder_must_be_empty_and_outside_the_sources(
    folders: Folders, tmp_path: Path, name: str
) -> None:
    save(tmp_path / "taken/1.png", phantom(0))
    with pytest.raises(ConfigError, match=r"needs a new or empty folder|combine does not write into"):
        combine(folders, tmp_path / name, rules={})
    with pytest.raises(ConfigError, match="two or more different"):
        combine([folders[0], folders[0]], tmp_path / "both", rules={})


def test_a_failed_combination_leaves_nothing_behind(folders: Folders, tmp_path: Path) -> None:
    for i in range(2):
        save(folders[0] / f"Testing/glioma_tumor/{i}.png", phantom(10))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(TuneBrainError, match="Every"):
        combine(folders, tmp_path / "both", rules={})
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_command_reports_how_many_images_were_kept(folders: Folders, tmp_path: Path) -> None:
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
