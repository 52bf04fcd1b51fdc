"""Files that are broken or odd in every known way, and what an audit reports about each."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from made import as_bytes, phantom, save
from PIL import Image

from tune_brain.data import decoding
from tune_brain.data.audit import audit
from tune_brain.data.findings import terminal_lines
from tune_brain.data.image_facts import read_facts
from tune_brain.data.prepare import prepare
from tune_brain.portable.pictures import MOST_BYTES, open_grey


def png(width: int, height: int) -> bytes:
    """A PNG file whose header claims this size, although it holds hardly any pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [
        struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
        for data in (header, pixels)
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
    "more than a scan has": (f"{X}.png", png(8_000, 6_000), "unreadable", "too many pixels"),
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
def test_a_file_of_each_kind_is_counted_and_listed(folder: Path, case: str) -> None:
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
    assert any(kind in line for line in terminal_lines(facts))


def test_dangling_links_and_unreadable_files_are_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "Training/a/gone.png").symlink_to("nowhere.png")
    read = Path.read_bytes

    def forbidden(path: Path) -> bytes:
        if path.name == "2.png":
            raise PermissionError(13, "no")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    reported = audit(folder).facts["files"]
    assert reported["left_out"] == {"link to nothing": {"n": 1, "names": ["Training/a/gone.png"]}}
    assert reported["unreadable"] == {
        "unreadable (Permission denied)": {"n": 2, "names": ["Training/a/2.png", "Training/b/2.png"]}
    }


def test_a_file_that_is_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "Training/a/x.png").open("wb") as file:
        file.write(as_bytes(SHOWN))
        file.truncate(MOST_BYTES + 1)
    read: list[str] = []
    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path.name), whole(path))[1])
    kind = {"unreadable (File too large)": {"n": 1, "names": ["Training/a/x.png"]}}
    assert audit(folder).facts["files"]["unreadable"] == kind
    assert prepare(folder, image_size=32, seed=0).summary["left_out"] == kind
    assert "x.png" not in read


def test_a_search_leaves_out_images_with_too_many_pixels_too(folder: Path) -> None:
    (folder / "Training/a/x.png").write_bytes(png(8_000, 6_000))
    kind = {"too many pixels": {"n": 1, "names": ["Training/a/x.png"]}}
    assert prepare(folder, image_size=32, seed=0).summary["left_out"] == kind


def test_exif_orientation_0_rotates_nothing(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 0
    content = as_bytes(SHOWN.resize((800, 600)), "JPEG", exif=exif)
    (folder / "Training/a/x.jpg").write_bytes(content)
    assert audit(folder).facts["files"]["odd"] == {}
    assert open_grey(content, 96).scale == 4


def test_at_most_five_names_of_a_kind_are_listed(folder: Path) -> None:
    for i in range(8):
        (folder / f"Training/a/empty {i}.jpg").touch()
    reported = audit(folder).facts["files"]["unreadable"]["empty file"]
    assert reported == {"n": 8, "names": [f"Training/a/empty {i}.jpg" for i in range(5)]}


def test_all_oddities_of_a_file_are_counted(folder: Path) -> None:
    save(folder / "Training/a/x.jpg", SHOWN.convert("RGBA").resize((20, 20)))
    assert set(audit(folder).facts["files"]["odd"]) == {
        "transparent",
        "PNG under the name of a JPEG",
        "under 32 pixels a side",
    }


def test_progress_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "AT_ONCE", 4)
    reports: list[tuple[int, int]] = []
    read_facts(sorted(folder.rglob("*.png")), lambda done, total: reports.append((done, total)))
    assert reports == [(4, 10), (8, 10), (10, 10)]


def test_12_bit_images_are_reported_as_nearly_black(folder: Path) -> None:
    path = (folder / X).with_suffix(".png")
    path.write_bytes(as_bytes(SIXTEEN))
    assert set(audit(folder).facts["files"]["odd"]) == {"16-bit"}
    twelve = Image.fromarray(np.asarray(SHOWN).astype(np.uint16) * 16)
    (folder / X).with_suffix(".png").write_bytes(as_bytes(twelve))
    facts = audit(folder).facts
    assert facts["files"]["odd"]["16-bit and nearly black"]["n"] == 1
    assert facts["summary"][0].startswith("1 16-bit image is nearly black to a network")
