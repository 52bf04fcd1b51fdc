"""What `tune-brain audit` writes, refuses and leaves alone."""

import errno
import json
import os
import re
from pathlib import Path

import pytest
from made import files, phantom, save
from typer.testing import CliRunner

from tune_brain import cli
from tune_brain.data.audit import audit
from tune_brain.data.demo import write_demo
from tune_brain.errors import ConfigError
from tune_brain.report.explore import write_audit


@pytest.mark.slow
def test_the_command_writes_two_files_and_strict_fails_on_leaks(folder: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    to = tmp_path / "out"
    clean = run(cli.app, ["audit", str(folder), "--strict", "--to", str(to)])
    assert clean.exit_code == 0, clean.output
    assert clean.stdout.splitlines()[-2:] == [str(to / "audit.json"), str(to / "audit.html")]
    save(folder / "Testing/a/x.png", phantom(0))
    before = files(folder)
    assert run(cli.app, ["audit", str(folder), "--to", str(to)]).exit_code == 0
    strict = run(cli.app, ["audit", str(folder), "--strict", "--to", str(to)])
    assert strict.exit_code == 1
    assert "1 of 5 test images (20%) is also in training" in strict.stderr
    assert files(folder) == before
    assert json.loads((to / "audit.json").read_text())["twins"]["any"]["leaked"] == 1


@pytest.mark.slow
def test_strict_fails_on_twins_with_two_labels(folder: Path, tmp_path: Path) -> None:
    save(folder / "Training/b/x.png", phantom(0))
    done = CliRunner().invoke(cli.app, ["audit", str(folder), "--strict", "--to", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "1 group of twins has two labels" in done.stderr


def test_an_output_folder_that_cannot_be_written_is_refused_before_the_audit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []
    monkeypatch.setattr("tune_brain.stages.audit.audit_folder", lambda root, _: decoded.append(root))
    (tmp_path / "file").touch()
    (tmp_path / "taken/audit.html").mkdir(parents=True)
    for to, problem in (("file/out", "Not a directory"), ("taken", "Is a directory")):
        done = CliRunner().invoke(cli.app, ["audit", str(folder), "--to", str(tmp_path / to)])
        assert isinstance(done.exception, ConfigError)
        assert re.search(
            rf"Cannot write a file or folder; found: .*{to}: {problem}\.\nFree some", str(done.exception)
        )
    assert decoded == []


def test_a_full_disk_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    result = audit(folder)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        write_audit(result, tmp_path / "out")


def test_the_command_does_not_write_into_the_image_folder(folder: Path) -> None:
    before = files(folder)
    done = CliRunner().invoke(cli.app, ["audit", str(folder), "--to", str(folder / "report")])
    assert done.exit_code
    assert "does not write into the image folder" in str(done.exception)
    assert files(folder) == before


@pytest.mark.slow
def test_strict_accepts_a_combined_folder(tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        write_demo(tmp_path / name, seed=seed, per_class=(16, 6))
    run, to = CliRunner().invoke, str(tmp_path / "both")
    leaking = run(cli.app, ["audit", str(tmp_path / "one"), "--strict", "--to", str(tmp_path / "first")])
    assert leaking.exit_code == 1, leaking.output
    made = run(cli.app, ["combine", str(tmp_path / "one"), str(tmp_path / "two"), "--to", to])
    assert made.exit_code == 0, made.output
    clean = run(cli.app, ["audit", to, "--strict", "--to", str(tmp_path / "out")])
    assert clean.exit_code == 0, clean.output
    facts = json.loads((tmp_path / "out/audit.json").read_text())
    assert facts["twins"]["any"]["leaked"] == 0
    assert facts["files"]["left_out"] == {}
