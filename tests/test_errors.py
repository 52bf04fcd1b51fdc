"""The messages that users read when something is wrong, and the exit codes that scripts read."""

import errno
import os
import pickle
import re
from pathlib import Path

import pytest

from tune_brain import errors
from tune_brain.cli import program
from tune_brain.errors import DataError, Diverged, TuneBrainError
from tune_brain.files import writing

KINDS = [TuneBrainError, *TuneBrainError.__subclasses__()]


def test_a_message_has_rule_value_and_remedy() -> None:
    error = DataError("A class needs at least two images.", found="glioma: 1", remedy="Add images of glioma.")
    assert str(error) == "A class needs at least two images; found: glioma: 1.\nAdd images of glioma."
    assert (error.rule, error.found, error.remedy) == (
        "A class needs at least two images.",
        "glioma: 1",
        "Add images of glioma.",
    )


@pytest.mark.parametrize(
    ("found", "text"),
    [(None, "A rule."), (0, "A rule; found: 0."), ("", "A rule; found: ."), ("No.", "A rule; found: No.")],
)
def test_only_none_omits_the_value(found: object, text: str) -> None:
    assert str(DataError("A rule", found=found)) == text


def test_a_file_name_cannot_forge_a_line_of_a_message() -> None:
    error = DataError("A rule", found="x\x1b[2J\ntune-brain: all is well\udcff")
    assert str(error) == r"A rule; found: x\x1b[2J\ntune-brain: all is well\xff."


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(DataError("A rule", found=3, remedy="A remedy.")))
    assert isinstance(error, DataError)
    assert (str(error), error.rule, error.found) == ("A rule; found: 3.\nA remedy.", "A rule", 3)


def test_the_tree_in_the_docstring_matches_the_classes() -> None:
    assert errors.__doc__ is not None
    listed = re.findall(r"^[├└─ ]*(\w+) +(\d+)(?:  |$)", errors.__doc__, flags=re.MULTILINE)
    assert {name: int(code) for name, code in listed} == {kind.__name__: kind.exit_code for kind in KINDS}


def test_exit_codes_are_distinct() -> None:
    codes = [kind.exit_code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes
    assert errors.Interrupted.exit_code == 130


def test_a_divergence_is_not_a_user_error() -> None:
    assert not issubclass(Diverged, TuneBrainError)


def test_a_missing_file_ends_a_command_with_a_message_and_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "no folder" / "table.csv"
    monkeypatch.setattr(program, "app", lambda: missing.write_text(""))
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 12
    assert f"found: {missing}: No such file or directory.\n" in capsys.readouterr().err


def test_a_full_disk_ends_a_command_with_a_message_and_a_bug_with_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def writes(code: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(program, "app", lambda: writes(errno.ENOSPC))
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 12
    assert "a file that was being written: No space left on device.\n" in capsys.readouterr().err
    monkeypatch.setattr(program, "app", lambda: writes(errno.EBADF))
    with pytest.raises(OSError, match="Bad file descriptor"):
        program.main()


def test_a_failed_write_becomes_an_error_of_the_given_class(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "file"
    with pytest.raises(DataError) as raised, writing(missing, DataError, "Create the folder."):
        missing.write_text("")
    assert str(raised.value) == (
        f"Cannot write a file or folder; found: {missing}: No such file or directory.\nCreate the folder."
    )
    with pytest.raises(DataError, match="found: disk: no details"), writing(Path("disk"), DataError):
        raise OSError("no details")
    with pytest.raises(ValueError, match="not a write"), writing(missing, DataError):
        raise ValueError("not a write")
