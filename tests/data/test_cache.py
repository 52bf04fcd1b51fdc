import errno
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tune_brain.data import cache, decoding
from tune_brain.data.cache import decode, is_whole, store
from tune_brain.errors import DataError
from tune_brain.portable.pictures import MARGIN, open_grey, square, squashed


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def grey(file: Path) -> NDArray[np.uint8]:
    return np.asarray(open_grey(file.read_bytes()).image)


def save(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_the_centre_square_is_kept_and_resized(tmp_path: Path) -> None:
    pixels = np.zeros((40, 120), np.uint8)
    pixels[:, 40:80] = 200
    decoded, _ = decode([save(tmp_path / "wide.png", pixels), save(tmp_path / "high.png", pixels.T)], 20)
    assert decoded.pixels.shape == (2, 1, 20, 20)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.pixels[:, :, 2:-2, 2:-2] == 200).all()
    # The thumbnail shows the whole image instead, resized to a square.
    assert decoded.thumbnails.shape == (2, 32, 32)
    assert decoded.thumbnails[0, :, :8].max() == 0
    assert decoded.thumbnails[0, :, 14:18].min() == 200
    assert (decoded.thumbnails[0] == decoded.thumbnails[1].T).all()


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    pixels = square(open_grey(save(tmp_path / "stripes.png", stripes).read_bytes()), 16)
    assert np.abs(pixels.astype(int) - 127).max() < 20


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_grey_and_rgb_of_one_picture_have_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    shades = noise(30, 30)
    files = [
        save(tmp_path / f"grey.{suffix}", shades),
        save(tmp_path / f"rgb.{suffix}", np.stack([shades] * 3, axis=-1)),
    ]
    decoded, failures = decode(files, 16)
    assert failures == {}
    assert (decoded.pixels[0] == decoded.pixels[1]).all()
    assert (decoded.thumbnails[0] == decoded.thumbnails[1]).all()
    assert decoded.digests == tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


@pytest.mark.parametrize(
    ("width", "height", "scale"), [(512, 512, 4), (630, 401, 4), (197, 1101, 2), (100, 100, 1)]
)
def test_a_jpeg_decoded_at_reduced_size_differs_by_less_than_half_a_grey_level(
    tmp_path: Path, width: int, height: int, scale: int
) -> None:
    rows, columns = np.mgrid[:height, :width]
    head = (np.hypot(columns / width - 0.5, rows / height - 0.5) < 0.4) * 140
    waves = 40 * np.sin(columns / 9) + 40 * np.sin(rows / 13)
    picture = (head + waves + noise(height, width) / 8).clip(0, 255)
    content = save(tmp_path / "large.jpg", picture.astype(np.uint8)).read_bytes()
    full, small = open_grey(content), open_grey(content, MARGIN * 32)
    assert full.size == small.size == full.image.size == (width, height)
    assert (full.scale, small.scale) == (1, scale)
    for shape in (square, squashed):
        difference = shape(full, 32).astype(float) - shape(small, 32)
        assert np.abs(difference).mean() < 0.5


def test_a_jpeg_with_exif_rotation_is_decoded_at_full_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = open_grey(save(tmp_path / "turned.jpg", noise(300, 640), exif=exif).read_bytes(), 64)
    assert picture.size == picture.image.size == (300, 640)
    assert picture.scale == 1


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((32, 64), np.uint8)
    pixels[:, 32:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # displayed rotated by 90 degrees clockwise
    upright = grey(save(tmp_path / "turned.jpg", pixels, exif=exif))
    assert upright.shape == (64, 32)
    assert upright[:28].max() < 20
    assert upright[36:].min() > 235


def test_16_bit_values_are_scaled_to_8_bits(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 32_896, 65_535]], np.uint16)
    assert grey(save(tmp_path / "deep.png", deep)).tolist() == [[0, 1, 128, 255]]


def test_transparent_parts_are_black(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[:2, :, 3] = 0
    seen = grey(save(tmp_path / "seen.png", pixels))
    assert seen[:2].max() == 0
    assert seen[2:].min() == 255
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 255, 255, 90, 90, 90])
    palette.save(tmp_path / "palette.png", transparency=b"\x00\xff")
    assert grey(tmp_path / "palette.png").tolist() == [[0, 90]]


def test_damaged_files_are_reported_and_the_rest_stays_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [save(tmp_path / f"{i}.png", np.full((20, 20), 40 * i, np.uint8)) for i in range(3)]
    jpeg = save(tmp_path / "whole.jpg", noise(64, 64)).read_bytes()
    for name, content in {
        "short.jpg": jpeg[: len(jpeg) // 2],
        "short.png": save(tmp_path / "whole.png", noise(64, 64)).read_bytes()[:900],
        "empty.jpg": b"",
        "words.png": b"not an image",
        "headless.png": b"\x89PNG\r\n\x1a\n" + b"\x00" * 40,
    }.items():
        (tmp_path / name).write_bytes(content)
    bomb = save(tmp_path / "bomb.png", noise(100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
    damaged = [
        tmp_path / name for name in ("short.jpg", "short.png", "empty.jpg", "words.png", "headless.png")
    ]
    order = [
        damaged[0],
        files[0],
        *damaged[1:3],
        files[1],
        *damaged[3:],
        bomb,
        files[2],
    ]
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(decoding, "AT_ONCE", 4)
    decoded, failures = decode(order, 16, lambda done, of: seen.append((done, of)))
    assert failures == {
        0: "truncated or damaged",
        2: "truncated or damaged",
        3: "empty file",
        5: "not an image inside",
        6: failures[6],
        7: "too many pixels",
    }
    assert decoded.pixels[:, 0, 0, 0].tolist() == decoded.thumbnails[:, 0, 0].tolist() == [0, 40, 80]
    assert len(decoded.digests) == 3
    assert seen == [(4, 9), (8, 9), (9, 9)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(PermissionError(errno.EACCES, "Permission denied"), "Permission denied"), (MemoryError(), "no memory")],
)
def test_a_transient_error_does_not_leave_an_image_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    file = save(tmp_path / "whole.png", noise(20, 20))

    def unreadable(_: Path) -> bytes:
        raise error

    monkeypatch.setattr(Path, "read_bytes", unreadable)
    with pytest.raises(DataError, match=rf"whole\.png: {reason}"):
        decode([file], 16)


def test_other_formats_are_not_opened(tmp_path: Path) -> None:
    Image.fromarray(noise(9, 9)).save(tmp_path / "a.jpg", "BMP")
    assert decode([tmp_path / "a.jpg"], 16)[1] == {0: "BMP under another name"}


def contents() -> dict[str, NDArray[np.uint8]]:
    return {"train/pixels": noise(5, 1, 4, 4), "sealed/pixels": noise(2, 1, 4, 4)}


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_stored_folder_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "key"
    assert not is_whole(folder)
    store(folder, contents(), {"summary": {"n": 5}})
    assert is_whole(folder)
    assert (np.load(folder / "train/pixels.npy") == contents()["train/pixels"]).all()
    assert leftovers(folder.parent) == ["key"]


@pytest.mark.parametrize("damage", ["cut", "missing", "no manifest", "torn manifest"])
def test_a_damaged_folder_is_detected_and_replaced(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "key"
    store(folder, contents(), {})
    pixels, manifest = folder / "sealed/pixels.npy", folder / cache.MANIFEST
    if damage == "cut":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif damage == "missing":
        pixels.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:-9])
    assert not is_whole(folder)
    store(folder, contents(), {})
    assert is_whole(folder)
    assert leftovers(tmp_path) == ["key"]


def test_old_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    for name, hours in ((".making-old", 25), (".making-new", 23), ("another", 99)):
        (tmp_path / name / "key").mkdir(parents=True)
        os.utime(tmp_path / name, (time.time() - 3600 * hours,) * 2)
    store(tmp_path / "key", contents(), {})
    assert leftovers(tmp_path) == [".making-new", "another", "key"]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "write_text", full)
    with pytest.raises(DataError, match="No space left on device"):
        store(tmp_path / "key", contents(), {"summary": {}})
    assert leftovers(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="TUNE_BRAIN_CACHE"):
        store(tmp_path / "file" / "key", contents(), {})


def test_concurrent_writers_leave_one_complete_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store(tmp_path / "key", contents(), {"summary": {}}), range(16)))
    assert is_whole(tmp_path / "key")
    assert leftovers(tmp_path) == ["key"]
