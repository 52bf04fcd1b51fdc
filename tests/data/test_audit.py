"""What an audit finds in folders with known twins, leaks and conflicts of labels."""

import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from made import phantom, save
from PIL import Image, ImageOps

from tune_brain.data import related, shapes
from tune_brain.data.audit import audit
from tune_brain.data.demo import draw
from tune_brain.data.findings import faults, few_images_sentence, no_shift_sentence, terminal_lines
from tune_brain.data.series import Series
from tune_brain.data.shift import BINS, origin
from tune_brain.data.similarity import TWINS as THRESHOLD
from tune_brain.errors import DataError
from tune_brain.report.explore import write_audit


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "at least two class folders; found: none"),
        (["a/1.png", "a/2.png"], "at least two class folders; found: a"),
        (["train/a/1.png", "train/b/1.png"], "no test folder"),
        (["train/a/1.png", "train/b/1.png", "test/a/1.png"], "same class folders"),
        (["a/1.png", "a/2.png", "b/1.png"], "b has 1"),
        (["a/1.png", "a/2.png", "b/1.png", "b/2.txt"], "b has 1 .*not a JPEG or PNG file"),
    ],
)
def test_unusable_folders_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for number, name in enumerate(names):
        save(tmp_path / "images" / name, phantom(number))
    (tmp_path / "images").mkdir(exist_ok=True)
    with pytest.raises(DataError, match=message):
        audit(tmp_path / "images")


def test_a_class_with_only_broken_files_is_refused(folder: Path) -> None:
    for file in (folder / "Testing/b").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"b has 0 \(2 left out, such as Testing/b/0.png: empty file\)"):
        audit(folder)
    with pytest.raises(DataError, match="does not exist"):
        audit(folder / "nowhere")


def test_a_clean_folder_has_no_faults(folder: Path) -> None:
    facts = audit(folder).facts
    assert facts["counts"] == {"train": {"a": 3, "b": 3}, "test": {"a": 2, "b": 2}}
    assert facts["twins"]["any"] == {"groups": 0, "images": 0, "across": 0, "leaked": 0, "conflicts": 0}
    assert facts["pairs"] == facts["conflicts"] == faults(facts) == []
    assert facts["floor"]["majority"]["official"] == {"n": 4, "accuracy": 0.5, "macro_f1": 0.3333}
    assert len(facts["summary"]) == 3
    assert facts["summary"][0] == "There are few images to train and validate on: 3 of a, 3 of b."
    assert "No test image has a twin" in facts["summary"][2]
    assert {found["elsewhere"] for found in facts["origin"].values()} == {None}
    assert facts["files"]["both_sides"] == 0


RULES = ["identical", "alike", "mirrored", "any"]
TWINS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "identical": lambda image: image,
    "alike": lambda image: image.resize((100, 90)),
    "cropped": lambda image: image.crop((4, 4, 124, 124)),
    "mirrored": ImageOps.mirror,
}


def test_only_classes_with_few_images_outside_the_test_are_named() -> None:
    def named(**counts: dict[str, int]) -> list[str]:
        facts = {"counts": counts, "classes": ["a", "b", "c"]}
        return re.findall(r"\d+ of \w", few_images_sentence(facts))

    enough = {"a": 30, "b": 29, "c": 30}
    assert named(train=enough) == named(train=enough, test={"a": 1, "b": 9, "c": 1}) == ["29 of b"]
    assert named(train=enough, validation={"a": 1, "b": 1, "c": 1}) == []
    assert named(train={"a": 9, "b": 3, "c": 99}) == ["3 of b", "9 of a"]


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.parametrize(
    "where", ["Training/a/x.png", "Training/b/x.png", "Testing/a/x.png", "Testing/b/x.png"]
)
def test_twins_of_every_kind_are_found_within_and_across_parts(folder: Path, kind: str, where: str) -> None:
    original = draw("glioma", np.random.default_rng(5)).resize((128, 128))
    save(folder / "Training/a/0.png", original)
    save(folder / where, TWINS[kind](original))
    facts = audit(folder).facts
    leaked, conflict = where.startswith("Testing"), "/b/" in where
    assert facts["twins"]["any"] == {
        "groups": 1,
        "images": 2,
        "across": leaked,
        "leaked": leaked,
        "conflicts": conflict,
    }
    coarsest = "any" if kind == "cropped" else kind
    assert [rule for rule in RULES if facts["twins"][rule]["groups"]] == RULES[RULES.index(coarsest) :]
    (pair,) = facts["pairs"]
    assert (pair["kind"], {pair["first"], pair["second"]}) == (kind, {"Training/a/0.png", where})
    assert pair["across"] == leaked
    assert facts["leak"][where.split("/")[1]]["any"] == leaked
    assert len(faults(facts)) == leaked + conflict
    if conflict:
        assert facts["conflicts"] == [{"names": ["Training/a/0.png", where], "classes": ["a", "b"], "n": 2}]


def test_validation_images_are_distinguished_from_training_images(folder: Path) -> None:
    for number, name in enumerate(("a", "b")):
        save(folder / f"Validation/{name}/0.png", phantom(100 + number))
    save(folder / "Training/a/x.png", phantom(100))
    facts = audit(folder).facts
    assert (facts["twins"]["any"]["across"], facts["twins"]["any"]["leaked"]) == (1, 0)
    assert facts["pairs"][0]["across"]
    assert faults(facts) == []
    assert "1 group of twins is in both training and validation." in facts["summary"]
    save(folder / "Testing/b/x.png", phantom(101))
    facts = audit(folder).facts
    assert faults(facts)[0].startswith("1 of 5 test images (20%) is also in training or validation")


def test_the_threshold_of_twins_is_an_edge_of_the_histogram() -> None:
    edges = BINS.tolist()
    assert THRESHOLD in edges
    steps = [high - low for low, high in pairwise(edges)]
    assert all(later <= step + 1e-12 for step, later in pairwise(steps))
    assert (edges[0], edges[-1], len(edges)) == (0, 1, 38)


def test_size_statistics_use_all_sizes_although_the_list_is_truncated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(4):
        save(folder / f"Training/a/{10 + i}.png", phantom(200 + i).resize((50 + i, 100)))
    save(folder / "Training/b/x.png", phantom(300).resize((224, 300)))
    whole = audit(folder).facts
    monkeypatch.setattr(shapes, "SIZES", 2)
    facts = audit(folder).facts
    assert (len(whole["dimensions"]), len(facts["dimensions"])) == (7, 2)
    assert facts["resizing"] == whole["resizing"]
    assert facts["aspects"] == whole["aspects"]
    assert facts["resizing"]["sizes"] == 6
    assert facts["resizing"]["cut"] == {"mean": 0.1462, "most": 0.5}
    assert facts["resizing"]["sides"] == {
        "64": {"enlarged": 4, "kept": 10, "shrunk": 1},
        "224": {"enlarged": 14, "kept": 1, "shrunk": 0},
    }
    assert facts["aspects"]["train"] == [0, 4, 1, 0, 0, 6, 0, 0, 0, 0, 0]


def test_an_audit_counts_nothing_twice_and_is_plain_json(folder: Path) -> None:
    for name in ("Training/a/x.png", "Testing/a/x.png", "Testing/a/y.png"):
        save(folder / name, phantom(0))
    facts = audit(folder).facts
    assert facts["twins"]["identical"] == {"groups": 1, "images": 4, "across": 1, "leaked": 2, "conflicts": 0}
    assert facts["files"]["distinct"] == facts["files"]["readable"] - 3
    assert facts["files"]["both_sides"] == 1
    assert facts["floor"]["nearest_neighbour"]["unseen"]["n"] == 4
    assert sum(facts["nearest"]["test"]) == 6
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert audit(folder).facts == facts


def test_one_folder_of_classes_has_no_test_part(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / "images" / "ab"[i % 2] / f"{i}.png", phantom(i))
    facts = audit(tmp_path / "images").facts
    assert facts["floor"] == {}
    assert facts["summary"][0] == "There are few images to train, validate and test on: 3 of a, 3 of b."
    assert "There is no test part" in facts["summary"][1]
    assert list(terminal_lines(facts))


def test_a_name_that_is_not_utf8_is_escaped(folder: Path) -> None:
    save(folder / "Training/a/tumo\udcffr.png", phantom(0))
    facts = audit(folder).facts
    assert facts["pairs"][0]["second"] == r"Training/a/tumo\xffr.png"
    "\n".join(terminal_lines(facts)).encode()


@pytest.mark.slow
def test_a_class_whose_test_images_come_from_elsewhere_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, n in (("Training", 24), ("Testing", 20)):
        for i in range(n):
            for name in "ab":
                image = draw("notumor", np.random.default_rng([ord(name), n, i])).resize((48, 48))
                bright = (
                    image.point(lambda grey: min(255, grey * 2))
                    if (part, name) == ("Testing", "b")
                    else image
                )
                save(tmp_path / "images" / part / name / f"{i}.png", bright)
    facts = audit(tmp_path / "images").facts
    assert [name for name, found in facts["origin"].items() if found["elsewhere"]] == ["b"]
    assert facts["origin"]["b"]["shares"]["brightness"] > 0.9
    assert facts["summary"][0].startswith("The test images of b come from somewhere else")
    # Slices of one series count as one observation, in the test part and outside it.
    for series in ("Testing/b", "Training/b"):

        def in_order(names: list[str], _: object, series: str = series) -> list[Series]:
            run = [place for place, name in enumerate(names) if name.startswith(series)]
            return [Series(len(run), [run])]

        monkeypatch.setattr(related, "ordered_series", in_order)
        verdicts = audit(tmp_path / "images").facts["origin"]
        assert (verdicts["a"]["elsewhere"], verdicts["b"]["elsewhere"]) == (False, None)


@pytest.mark.parametrize(
    ("n", "above", "slices", "elsewhere"),
    [
        (20, 16, 1, True),
        (20, 15, 1, False),
        (20, 4, 1, True),
        (20, 5, 1, False),
        (19, 19, 1, None),
        (40, 32, 2, True),
        (38, 38, 2, None),
    ],
)
def test_the_verdict_on_the_origin_has_thresholds(
    n: int, above: int, slices: int, elsewhere: bool | None
) -> None:
    training = np.full(30, 10.0)
    unseen = np.where(np.arange(n) < above, 11.0, 9.0)
    leaked = np.full(5, 99.0)
    values = np.concatenate([training, unseen, leaked])
    test = np.arange(len(values)) >= len(training)
    groups = np.concatenate([np.arange(30), 100 + np.arange(n) // slices, np.full(5, 99)])
    labels = np.zeros(len(values), np.int64)
    verdict = origin({"brightness": values}, labels, test, values == 99, groups, ["a"])["a"]
    assert (verdict["n"], verdict["groups"]) == (n, n // slices)
    assert verdict["share"] == pytest.approx(above / n, abs=1e-4)
    assert verdict["elsewhere"] is elsewhere


def test_classes_too_small_for_a_verdict_are_named() -> None:
    def sentence(**verdicts: bool | None) -> str:
        return no_shift_sentence(
            {"origin": {name: {"elsewhere": verdict} for name, verdict in verdicts.items()}}
        )

    assert sentence(a=False, b=False).startswith("In every class the test images resemble the others")
    assert sentence(a=False, b=None, c=False).startswith("The test images of a, c resemble the others")
    assert sentence(a=False, b=None, c=False).endswith("; b: too few unseen images or series to tell.")
    assert sentence(a=None, b=None).startswith("Too few unseen test images, or too few series, to tell")


@pytest.mark.slow
def test_sartaj(real: Path) -> None:
    facts = audit(real / "sartaj").facts
    identical = {"groups": 300, "images": 694, "across": 213, "leaked": 251, "conflicts": 0}
    assert facts["twins"]["identical"] == identical
    files = facts["files"]
    assert (files["readable"], files["distinct"], files["both_sides"]) == (3264, 3027, 64)
    leaked = {name: found["identical"] for name, found in facts["leak"].items()}
    assert leaked == {"glioma_tumor": 18, "meningioma_tumor": 106, "no_tumor": 105, "pituitary_tumor": 22}
    assert {rule: facts["twins"][rule]["conflicts"] for rule in RULES} == dict(
        zip(RULES, (0, 2, 2, 2), strict=True)
    )
    assert facts["twins"]["alike"]["leaked"] == pytest.approx(259, abs=3)
    assert facts["floor"]["nearest_neighbour"]["official"]["accuracy"] == pytest.approx(0.764, abs=0.005)
    assert facts["floor"]["nearest_neighbour"]["unseen"]["accuracy"] == pytest.approx(0.326, abs=0.01)
    verdicts = [found["elsewhere"] for found in facts["origin"].values()]
    assert [found["groups"] for found in facts["origin"].values()] == [65, 6, 0, 3]
    assert verdicts == [True, None, None, None]


@pytest.mark.slow
def test_nickparvar(real: Path, tmp_path: Path) -> None:
    found = audit(real / "nickparvar")
    facts = found.facts
    _, page = write_audit(found, tmp_path)
    assert page.stat().st_size < 5_000_000
    twins = facts["twins"]["identical"]
    assert (twins["groups"], twins["images"], twins["across"], twins["conflicts"]) == (300, 726, 189, 0)
    assert twins["leaked"] == 216
    # An older count with other thumbnails had 363 of no tumour: two pairs correlate by .9963 only.
    leaked = {name: found["alike"] for name, found in facts["leak"].items()}
    assert leaked == {"glioma": 0, "meningioma": 109, "notumor": 365, "pituitary": 5}
    # All four conflicts are between mirrored images.
    assert {rule: facts["twins"][rule]["conflicts"] for rule in RULES} == dict(
        zip(RULES, (0, 0, 4, 4), strict=True)
    )
    assert facts["floor"]["nearest_neighbour"]["official"]["accuracy"] == pytest.approx(0.972, abs=0.003)
    verdicts = {name: found["elsewhere"] for name, found in facts["origin"].items()}
    assert [found["groups"] for found in facts["origin"].values()] == [8, 14, 10, 9]
    assert set(verdicts.values()) == {None}
    hidden = {"n": 1, "names": ["Testing/meningioma/.ipynb_checkpoints"]}
    assert facts["files"]["left_out"] == {"hidden folder": hidden}
    # Mirrored copies were mixed into this set before it was split into parts.
    assert facts["twins"]["mirrored"]["leaked"] == pytest.approx(980, abs=3)
