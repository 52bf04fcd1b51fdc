"""Combined folders: no test picture is in training, and no image is lost to a transient error."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import save
from PIL import Image, ImageOps

from tune_brain.data import decoding
from tune_brain.data.audit import audit
from tune_brain.data.combine import combine, describe_rows
from tune_brain.data.demo import draw
from tune_brain.data.findings import faults
from tune_brain.data.prepare import prepare
from tune_brain.data.sources import SOURCES
from tune_brain.errors import DataError

Folders = tuple[Path, Path]

CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "copy": lambda image: image,
    "resized": lambda image: image.resize((100, 90)),
    "mirrored": ImageOps.mirror,
    "cropped": lambda image: image.crop((4, 4, image.width - 4, image.height - 4)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_twin_of_any_source_s_test_image_is_left_out_of_training(
    folders: Folders, tmp_path: Path, change: str
) -> None:
    first, second = folders
    leaked = draw("glioma", np.random.default_rng(5)).resize((128, 128))
    save(first / "Testing/glioma_tumor/0.png", leaked)
    save(second / "Glioma/leak.png", CHANGES[change](leaked))
    rows = combine(folders, tmp_path / "both", rules={})
    (leak,) = (row for row in rows if row.left_out)
    assert (leak.source, leak.original, leak.file) == ("second", "Glioma/leak.png", "")
    assert leak.left_out == "twin in a test part"
    (twin,) = (row for row in rows if row.group == leak.group and row is not leak)
    assert twin.original == "Testing/glioma_tumor/0.png"
    summary = prepare(tmp_path / "both", image_size=32, seed=0).summary
    assert summary["unseen"] == summary["official"]
    assert faults(audit(tmp_path / "both").facts) == []
    assert "  left out of train, twin in a test part: 1" in describe_rows(rows)
    assert "1 picture is in more than one source" in describe_rows(rows)


def test_a_crop_is_left_out_although_a_mirrored_test_image_comes_first(
    folders: Folders, tmp_path: Path
) -> None:
    first, second = folders
    leaked = draw("glioma", np.random.default_rng(5)).resize((128, 128))
    # If mirrored twins were one group here, the mirrored copy, which comes first, would represent both.
    save(first / "Testing/glioma_tumor/0.png", ImageOps.mirror(leaked))
    save(first / "Testing/glioma_tumor/1.png", leaked)
    save(second / "Glioma/leak.png", CHANGES["cropped"](leaked))
    rows = combine(folders, tmp_path / "both", rules={})
    assert [row.original for row in rows if row.left_out] == ["Glioma/leak.png"]


def test_an_image_with_a_transient_read_error_is_not_left_out(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "content_of", broken)
        with pytest.raises(DataError, match="Cannot read an image file"):
            combine(folders, tmp_path / "both", rules={})
    assert not (tmp_path / "both").exists()
    assert all(row.file for row in combine(folders, tmp_path / "both", rules={}))


def test_an_existing_empty_folder_behind_a_link_is_filled(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "both").symlink_to(tmp_path / "elsewhere")
    combine(folders, tmp_path / "both", rules={})
    assert (tmp_path / "both").is_symlink()
    assert {entry.name for entry in (tmp_path / "elsewhere").iterdir()} == {"Testing", "Training", SOURCES}
