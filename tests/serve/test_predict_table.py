"""The table of `tune-brain predict`."""

import os
import shutil
from pathlib import Path

import pytest

from tune_brain.bundle.read import open_bundle
from tune_brain.errors import Interrupted
from tune_brain.portable.pictures import MOST_BYTES
from tune_brain.serve import table
from tune_brain.serve.table import predict


def test_a_table_skips_hidden_and_too_large_files(
    light_bundle: Path, mri: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / ".images"
    for name in ("a.jpg", "._a.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(mri, images / name)
    assert predict(light_bundle, [images], tmp_path / "table.csv") == 0
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 2
    # A file over the limit is not even read.
    bundle = open_bundle(light_bundle)
    monkeypatch.setattr(table, "open_bundle", lambda _: bundle)
    monkeypatch.setattr(Path, "read_bytes", lambda file: pytest.fail(f"{file} was read"))
    with (images / "b.png").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    assert predict(light_bundle, [images / "b.png"], tmp_path / "table.csv") == 1


def test_a_table_removes_control_characters_from_file_names(
    light_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a\x1b[2J.png"
    file.touch()
    assert predict(light_bundle, [file], tmp_path / "table.csv") == 1
    printed = capsys.readouterr()
    assert "\x1b" not in printed.err
    assert printed.err.startswith("Not a medical device.")


def test_an_interrupt_keeps_the_old_table(
    light_bundle: Path, mri: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tables").mkdir()
    old, link = tmp_path / "tables" / "old.csv", tmp_path / "link.csv"
    old.write_text("from yesterday")
    old.chmod(0o600)
    link.symlink_to(old)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(table, "frames", interrupted)
        with pytest.raises(Interrupted, match="the table is as it was"):
            predict(light_bundle, [mri], link)
    assert old.read_text() == "from yesterday"
    assert predict(light_bundle, [mri], link) == 0
    assert link.is_symlink()
    assert old.read_text().startswith("file,frame,class,probability,unsure,p_glioma,")
    assert list(old.parent.iterdir()) == [old]
    assert old.stat().st_mode & 0o777 == 0o600


def test_a_table_can_be_written_to_a_pipe(light_bundle: Path, mri: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert predict(light_bundle, [mri], pipe) == 0
        assert len(os.read(reader, 10_000).splitlines()) == 2
    finally:
        os.close(reader)
    assert pipe.is_fifo()
