"""What a user reads when something is wrong, and the exit code that a script reads."""

import errno
import os
import pickle
import re
from pathlib import Path

import pytest

from tune_brain import errors
from tune_brain.cli import program
from tune_brain.errors import DataError, Diverged, TuneBrainError

KINDS = [TuneBrainError, *TuneBrainError.__subclasses__()]


def test_a_message_holds_rule_value_and_remedy() -> None:
    error = DataError("A class needs at least two images.", found="glioma: 1", remedy="Add images of glioma.")
    assert str(error) == "A class needs at least two images; found: glioma: 1.\nAdd images of glioma."
    assert (error.rule, error.found, error.remedy) == (
        "A class needs at least two images.",
        "glioma: 1",
        "Add images of glioma.",
    )


@pytest.mark.parametrize(
    ("found", "text"), [(None, "A rule."), (0, "A rule; found: 0."), ("", "A rule; found: .")]
)
def test_only_none_means_that_nothing_was_found(found: object, text: str) -> None:
    assert str(DataError("A rule", found=found)) == text


def test_a_name_forges_no_line_of_a_message() -> None:
    error = DataError("A rule", found="x\x1b[2J\ntune-brain: all is well\udcff")
    assert str(error) == r"A rule; found: x\x1b[2J\ntune-brain: all is well\xff."


def test_an_error_comes_back_whole_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(DataError("A rule", found=3, remedy="A remedy.")))
    assert isinstance(error, DataError)
    assert (str(error), error.rule, error.found) == ("A rule; found: 3.\nA remedy.", "A rule", 3)


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(r"^[├└─ ]*(\w+) +(\d+)(?:  |$)", errors.__doc__, flags=re.MULTILINE)
    assert {name: int(code) for name, code in drawn} == {kind.__name__: kind.exit_code for kind in KINDS}


def test_exit_codes_tell_the_errors_apart() -> None:
    codes = [kind.exit_code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert 0 not in codes
    assert errors.Interrupted.exit_code == 130


def test_a_divergence_is_no_error_of_the_user() -> None:
    assert not issubclass(Diverged, TuneBrainError)


def test_a_file_that_is_not_there_ends_a_command_with_a_message_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "no folder" / "table.csv"
    monkeypatch.setattr(program, "app", lambda: missing.write_text(""))
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 12
    assert f"writable; found: {missing}: No such file or directory.\n" in capsys.readouterr().err


def test_a_disk_that_fills_ends_a_command_alike_and_a_mistake_of_ours_with_a_traceback(
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
