"""The table of `tune-brain predict`."""

import shutil
from pathlib import Path

import pytest

from tune_brain.bundle.read import open_bundle
from tune_brain.portable.pictures import MOST_BYTES
from tune_brain.serve import table
from tune_brain.serve.table import predict


def test_a_table_skips_hidden_and_too_large_files(
    bundle_folder: Path, mri: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / ".images"
    for name in ("a.jpg", "._a.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(mri, images / name)
    assert predict(bundle_folder, [images], tmp_path / "table.csv") == 0
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 2
    # A file over the limit is not even read.
    bundle = open_bundle(bundle_folder)
    monkeypatch.setattr(table, "open_bundle", lambda _: bundle)
    monkeypatch.setattr(Path, "read_bytes", lambda file: pytest.fail(f"{file} was read"))
    with (images / "b.png").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    assert predict(bundle_folder, [images / "b.png"], tmp_path / "table.csv") == 1


def test_a_table_removes_control_characters_from_file_names(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a\x1b[2J.png"
    file.touch()
    assert predict(bundle_folder, [file], tmp_path / "table.csv") == 1
    printed = capsys.readouterr()
    assert "\x1b" not in printed.err
    assert printed.err.startswith("Not a medical device.")
