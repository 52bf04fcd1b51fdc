"""Folders broken in every way that was met or feared: what the audit says of each."""

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner

from tune_brain import cli
from tune_brain.data import files
from tune_brain.data.audit import audit
from tune_brain.data.demo import draw
from tune_brain.data.findings import faults, terminal
from tune_brain.errors import DataError

Make = Callable[[Path], None]


def phantom(seed: int) -> Image.Image:
    return draw("glioma", np.random.default_rng(seed)).resize((64, 64))


def as_bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def save(path: Path, image: Image.Image, kind: str = "PNG", **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_bytes(image, kind, **options))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of distinct phantoms in two parts."""
    root = tmp_path / "images"
    for number, name in enumerate(("Training/a", "Training/b", "Testing/a", "Testing/b")):
        for i in range(3 if name.startswith("Training") else 2):
            save(root / name / f"{i}.png", phantom(10 * number + i))
    return root


def png(width: int, height: int) -> bytes:
    """A file that claims so many pixels and holds hardly any."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in (header, pixels)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def turned() -> dict[str, object]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return {"exif": exif}


X = "Training/a/x"
SHOWN = phantom(99)
SIXTEEN = Image.fromarray(np.asarray(SHOWN).astype(np.uint16) * 257)

BROKEN: dict[str, tuple[str, bytes, str, str]] = {
    "zero bytes": (f"{X}.png", b"", "unreadable", "empty file"),
    "text": (f"{X}.jpg", b"<html>not found</html>", "unreadable", "not an image inside"),
    "zeros": (f"{X}.jpg", bytes(5000), "unreadable", "not an image inside"),
    "truncated JPEG": (f"{X}.jpg", as_bytes(SHOWN, "JPEG")[:900], "unreadable", "truncated or damaged"),
    "truncated PNG": (f"{X}.png", as_bytes(SHOWN)[:900], "unreadable", "truncated or damaged"),
    "header alone": (f"{X}.jpg", as_bytes(SHOWN, "JPEG")[:20], "unreadable", "not an image inside"),
    "bomb": (f"{X}.png", png(60_000, 60_000), "unreadable", "too many pixels"),
    "large bomb": (f"{X}.png", png(12_000, 12_000), "unreadable", "too many pixels"),
    "GIF": (f"{X}.png", as_bytes(SHOWN, "GIF"), "unreadable", "GIF under another name"),
    "BMP": (f"{X}.jpg", as_bytes(SHOWN, "BMP"), "unreadable", "BMP under another name"),
    "TIFF": (f"{X}.jpg", as_bytes(SHOWN, "TIFF"), "unreadable", "TIFF under another name"),
    "hidden file": ("Training/a/._x.png", as_bytes(SHOWN), "left_out", "hidden file"),
    "hidden folder": ("Training/a/.checks/x.png", as_bytes(SHOWN), "left_out", "hidden folder"),
    "Mac archive": ("__MACOSX/x.png", as_bytes(SHOWN), "left_out", "hidden folder"),
    "deeper folder": ("Training/a/more/x.png", as_bytes(SHOWN), "left_out", "folder inside a class folder"),
    "beside classes": ("Training/x.png", as_bytes(SHOWN), "left_out", "image beside the class folders"),
    "beside parts": ("masks/x.png", as_bytes(SHOWN), "left_out", "folder beside the parts"),
    "another file": ("Training/a/Thumbs.db", b"db", "left_out", "not a JPEG or PNG file"),
    "DICOM": ("Training/a/x.dcm", bytes(128) + b"DICM", "left_out", "not a JPEG or PNG file"),
    "animated": (
        f"{X}.png",
        as_bytes(SHOWN, save_all=True, append_images=[phantom(98)]),
        "odd",
        "several frames, the first is read",
    ),
    "16-bit": (f"{X}.png", as_bytes(SIXTEEN), "odd", "16-bit"),
    "1-bit": (f"{X}.png", as_bytes(SHOWN.convert("1")), "odd", "1-bit"),
    "palette": (f"{X}.png", as_bytes(SHOWN.convert("RGB").quantize(64)), "odd", "palette"),
    "CMYK": (f"{X}.jpg", as_bytes(SHOWN.convert("CMYK"), "JPEG"), "odd", "CMYK"),
    "transparent": (f"{X}.png", as_bytes(SHOWN.convert("RGBA")), "odd", "transparent"),
    "turned by EXIF": (f"{X}.jpg", as_bytes(SHOWN, "JPEG", **turned()), "odd", "turned by EXIF"),
    "PNG as JPEG": (f"{X}.jpeg", as_bytes(SHOWN), "odd", "PNG under the name of a JPEG"),
    "JPEG as PNG": (f"{X}.png", as_bytes(SHOWN, "JPEG"), "odd", "JPEG under the name of a PNG"),
    "tiny": (f"{X}.png", as_bytes(SHOWN.resize((9, 40))), "odd", "under 32 pixels a side"),
    "one pixel": (f"{X}.png", as_bytes(SHOWN.resize((1, 1))), "odd", "under 32 pixels a side"),
    "flat": (f"{X}.png", as_bytes(Image.new("L", (64, 64), 7)), "odd", "one flat grey"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_of_each_kind_is_counted_and_named(folder: Path, case: str) -> None:
    name, content, group, kind = BROKEN[case]
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    facts = audit(folder).facts
    of_kind = facts["files"][group][kind]
    assert of_kind["n"] == 1
    assert name.startswith(of_kind["names"][0])
    others = [found for other, found in facts["files"].items() if isinstance(found, dict) and other != group]
    assert others == [{}, {}]
    assert facts["files"]["readable"] == 10 + (group == "odd")
    assert path.read_bytes() == content
    assert any(kind in line for line in terminal(facts))


def test_links_and_forbidden_files_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "Training/a/gone.png").symlink_to("nowhere.png")
    read = Path.read_bytes

    def forbidden(path: Path) -> bytes:
        if path.name == "2.png":
            raise PermissionError(13, "no")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    found = audit(folder).facts["files"]
    assert found["left_out"] == {"link to nothing": {"n": 1, "names": ["Training/a/gone.png"]}}
    assert found["unreadable"] == {
        "unreadable (Permission denied)": {"n": 2, "names": ["Training/a/2.png", "Training/b/2.png"]}
    }


def test_five_names_of_a_kind_are_told(folder: Path) -> None:
    for i in range(8):
        (folder / f"Training/a/empty {i}.jpg").touch()
    found = audit(folder).facts["files"]["unreadable"]["empty file"]
    assert found == {"n": 8, "names": [f"Training/a/empty {i}.jpg" for i in range(5)]}


def test_several_oddities_of_one_file_all_count(folder: Path) -> None:
    save(folder / "Training/a/x.jpg", SHOWN.convert("RGBA").resize((20, 20)))
    assert set(audit(folder).facts["files"]["odd"]) == {
        "transparent",
        "PNG under the name of a JPEG",
        "under 32 pixels a side",
    }


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "at least two class folders; found: none"),
        (["a/1.png", "a/2.png"], "at least two class folders; found: a"),
        (["train/a/1.png", "train/b/1.png"], "no test folder"),
        (["train/a/1.png", "train/b/1.png", "test/a/1.png"], "same class folders"),
        (["a/1.png", "a/2.png", "b/1.png"], "b has 1"),
        (["a/1.png", "a/2.png", "b/1.png", "b/2.txt"], "b has 1 .*not a JPEG or PNG file"),
    ],
)
def test_folders_that_are_no_data(tmp_path: Path, names: list[str], said: str) -> None:
    for number, name in enumerate(names):
        save(tmp_path / "images" / name, phantom(number))
    (tmp_path / "images").mkdir(exist_ok=True)
    with pytest.raises(DataError, match=said):
        audit(tmp_path / "images")


def test_a_class_of_broken_files_alone_is_no_data(folder: Path) -> None:
    for file in (folder / "Testing/b").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"b has 0 \(2 left out, such as Testing/b/0.png: empty file\)"):
        audit(folder)
    with pytest.raises(DataError, match="is not there"):
        audit(folder / "nowhere")


def test_a_clean_folder_has_no_faults(folder: Path) -> None:
    facts = audit(folder).facts
    assert facts["counts"] == {"train": {"a": 3, "b": 3}, "test": {"a": 2, "b": 2}}
    assert facts["twins"]["any"] == {"groups": 0, "images": 0, "across": 0, "leaked": 0, "conflicts": 0}
    assert facts["pairs"] == facts["conflicts"] == faults(facts) == []
    assert facts["floor"]["majority"]["official"] == {"n": 4, "accuracy": 0.5, "macro_f1": 0.3333}
    assert len(facts["summary"]) == 3
    assert "No test image has a twin" in facts["summary"][1]


TWINS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "identical": lambda image: image,
    "alike": lambda image: image.resize((100, 90)),
    "cropped": lambda image: image.crop((4, 4, 124, 124)),
    "mirrored": ImageOps.mirror,
}


@pytest.mark.parametrize("kind", TWINS)
@pytest.mark.parametrize(
    "where", ["Training/a/x.png", "Training/b/x.png", "Testing/a/x.png", "Testing/b/x.png"]
)
def test_twins_of_every_kind_inside_and_across(folder: Path, kind: str, where: str) -> None:
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
    assert [rule for rule in ("identical", "alike") if facts["twins"][rule]["groups"]] == {
        "identical": ["identical", "alike"],
        "alike": ["alike"],
    }.get(kind, [])
    (pair,) = facts["pairs"]
    assert (pair["kind"], {pair["first"], pair["second"]}) == (kind, {"Training/a/0.png", where})
    assert pair["across"] == leaked
    assert facts["leak"][where.split("/")[1]]["any"] == leaked
    assert len(faults(facts)) == leaked + conflict
    if conflict:
        assert facts["conflicts"] == [{"names": ["Training/a/0.png", where], "classes": ["a", "b"], "n": 2}]


def test_an_audit_counts_nothing_twice_and_is_json(folder: Path) -> None:
    for name in ("Training/a/x.png", "Testing/a/x.png", "Testing/a/y.png"):
        save(folder / name, phantom(0))
    facts = audit(folder).facts
    assert facts["twins"]["identical"] == {"groups": 1, "images": 4, "across": 1, "leaked": 2, "conflicts": 0}
    assert facts["files"]["distinct"] == facts["files"]["readable"] - 3
    assert facts["floor"]["nearest_neighbour"]["unseen"]["n"] == 4
    assert sum(facts["nearest"]["test"]) == 6
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert audit(folder).facts == facts


def test_one_folder_of_classes_has_no_test_part(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / "images" / "ab"[i % 2] / f"{i}.png", phantom(i))
    facts = audit(tmp_path / "images").facts
    assert facts["floor"] == {}
    assert "There is no test part" in facts["summary"][0]
    assert list(terminal(facts))


def test_a_name_that_is_no_text_stands_as_escapes(folder: Path) -> None:
    save(folder / "Training/a/tumo\udcffr.png", phantom(0))
    facts = audit(folder).facts
    assert facts["pairs"][0]["second"] == r"Training/a/tumo\xffr.png"
    "\n".join(terminal(facts)).encode()


def test_a_class_from_elsewhere_is_found(tmp_path: Path) -> None:
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


def everything(root: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()
    }


def test_the_command_writes_two_files_and_strict_refuses_leaks(folder: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    to = tmp_path / "out"
    clean = run(cli.app, ["audit", str(folder), "--strict", "--to", str(to)])
    assert clean.exit_code == 0, clean.output
    assert clean.stdout.splitlines()[-2:] == [str(to / "audit.json"), str(to / "audit.html")]
    save(folder / "Testing/a/x.png", phantom(0))
    before = everything(folder)
    assert run(cli.app, ["audit", str(folder), "--to", str(to)]).exit_code == 0
    strict = run(cli.app, ["audit", str(folder), "--strict", "--to", str(to)])
    assert strict.exit_code == 1
    assert "1 of 5 test images (20%) stand in training too" in strict.stderr
    assert everything(folder) == before
    assert json.loads((to / "audit.json").read_text())["twins"]["any"]["leaked"] == 1


def test_strict_refuses_conflicts_of_labels(folder: Path, tmp_path: Path) -> None:
    save(folder / "Training/b/x.png", phantom(0))
    done = CliRunner().invoke(cli.app, ["audit", str(folder), "--strict", "--to", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "1 group of twins has two labels" in done.stderr


def test_the_command_writes_nothing_into_the_images(folder: Path) -> None:
    before = everything(folder)
    done = CliRunner().invoke(cli.app, ["audit", str(folder), "--to", str(folder / "report")])
    assert done.exit_code
    assert "writes nothing into the images" in str(done.exception)
    assert everything(folder) == before


def test_progress_is_told(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    files.look(sorted(folder.rglob("*.png")), lambda done, total: told.append((done, total)))
    assert told == [(i, 10) for i in range(1, 11)]


@pytest.mark.slow
def test_the_first_published_set(real: Path) -> None:
    facts = audit(real / "sartaj").facts
    identical = {"groups": 300, "images": 694, "across": 213, "leaked": 251, "conflicts": 0}
    assert facts["twins"]["identical"] == identical
    assert (facts["files"]["readable"], facts["files"]["distinct"]) == (3264, 3027)
    assert facts["twins"]["alike"]["leaked"] == pytest.approx(259, abs=3)
    assert facts["floor"]["nearest_neighbour"]["official"]["accuracy"] == pytest.approx(0.764, abs=0.005)
    assert facts["floor"]["nearest_neighbour"]["unseen"]["accuracy"] == pytest.approx(0.321, abs=0.01)
    assert facts["origin"]["glioma_tumor"]["elsewhere"]


@pytest.mark.slow
def test_the_second_published_set(real: Path) -> None:
    facts = audit(real / "nickparvar").facts
    twins = facts["twins"]["identical"]
    assert (twins["groups"], twins["images"], twins["across"], twins["conflicts"]) == (300, 726, 189, 0)
    assert facts["twins"]["alike"]["leaked"] == pytest.approx(477, abs=3)
    assert facts["floor"]["nearest_neighbour"]["official"]["accuracy"] == pytest.approx(0.969, abs=0.005)
    assert not any(found["elsewhere"] for found in facts["origin"].values())
    hidden = {"n": 1, "names": ["Testing/meningioma/.ipynb_checkpoints"]}
    assert facts["files"]["left_out"] == {"hidden folder": hidden}
    # Copies mirrored left to right were mixed into this set before it was cut in parts.
    assert facts["twins"]["pairs"]["mirrored"] > 1500
