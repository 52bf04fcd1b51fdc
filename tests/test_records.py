"""Rows survive a crash in the middle of a line; other files appear complete or not at all."""

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tune_brain import records
from tune_brain.config import Frozen
from tune_brain.errors import RunFolderError
from tune_brain.files import read_json, write_json, write_text
from tune_brain.records import EpochRow, SeedRow, TrialRow, arch_of, by_arch, latest, seed_name, seeds_of

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(codec="utf-8"))
TRIALS = st.builds(
    TrialRow,
    trial=st.integers(0, 5),
    arch=TEXT,
    values=st.dictionaries(TEXT, FINITE, max_size=3),
    detail=TEXT,
    score=st.none() | FINITE,
    started=FINITE,
    seconds=FINITE,
)


def trial(number: int, **values: object) -> TrialRow:
    """A row of one trial, running unless the values say otherwise."""
    plain = {
        "arch": "cnn",
        "configuration": 0,
        "epochs": 3,
        "values": {"max_lr": 1e-3},
        "seed": 1,
        "started": 0.5,
    }
    return TrialRow.model_validate({"trial": number, "state": "running", **plain, **values})


@settings(deadline=None, max_examples=30)
@given(st.lists(TRIALS, max_size=4))
def test_rows_are_read_back_equal_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[TrialRow]
) -> None:
    path = tmp_path_factory.getbasetemp() / "read_back.jsonl"
    path.unlink(missing_ok=True)
    for row in rows:
        records.append(path, row)
    assert records.read(path, TrialRow) == rows


def test_a_row_is_one_line_whatever_its_text(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    records.append(path, trial(0, detail="two\nlines, \u2028 and a\r\nthird"))
    assert path.read_bytes().count(b"\n") == 1
    assert path.read_bytes().endswith(b"\n")


def test_a_missing_file_has_no_rows_and_is_created(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    assert records.read(path, TrialRow) == []
    records.append(path, trial(0))
    assert records.read(path, TrialRow) == [trial(0)]


def test_the_folder_of_a_moved_run_is_not_recreated(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    records.append(run / "trials.jsonl", trial(0))
    run.rename(tmp_path / "moved")
    with pytest.raises(RunFolderError, match="No such file"):
        records.append(run / "trials.jsonl", trial(1))
    assert not run.exists()


class Note(Frozen):
    """A row so short that the test can cut it off at every byte."""

    text: str


def test_an_incomplete_last_line_is_skipped_and_removed_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    rows, after = [Note(text="first"), Note(text="größer: 脳\n")], Note(text="after")
    for row in rows:
        records.append(path, row)
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        kept = rows[: whole[:length].count(b"\n")]
        assert records.read(path, Note) == kept
        records.append(path, after)
        assert records.read(path, Note) == [*kept, after]


@pytest.mark.parametrize("line", [b"{", b"", b"{}", b"\xff", b'{"trial": 0}'])
def test_a_damaged_complete_line_is_an_error(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    records.append(path, trial(0))
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(RunFolderError, match="TrialRow") as raised:
        records.read(path, TrialRow)
    assert str(path) in str(raised.value)


def test_a_row_of_a_newer_version_is_not_reported_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b'{"text": "a", "colour": 3}\n')
    with pytest.raises(RunFolderError, match="Another version"):
        records.read(path, Note)


def test_a_damaged_line_is_reported_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": "b"}\n{"text": \n{"text": "d"}\n')
    for start in (0, len(b'{"text": "a"}\n')):
        with pytest.raises(RunFolderError, match=r"notes\.jsonl, line 3: Invalid JSON") as raised:
            records.read_on(path, Note, start)
        assert "line 1" not in str(raised.value)


@pytest.mark.parametrize("kind", [EpochRow, SeedRow])
def test_rows_of_another_kind_are_refused(kind: type[EpochRow | SeedRow], tmp_path: Path) -> None:
    records.append(tmp_path / "trials.jsonl", trial(0))
    with pytest.raises(RunFolderError, match=kind.__name__):
        records.read(tmp_path / "trials.jsonl", kind)


def test_the_last_row_of_a_trial_counts() -> None:
    rows = [
        trial(2),
        trial(0),
        trial(2, state="failed", why="raised"),
        trial(0, state="completed", score=0.5),
    ]
    assert latest(rows) == [rows[3], rows[2]]
    assert latest([*rows, trial(2, attempt=2)])[1].attempt == 2
    assert latest([]) == []


def test_rows_are_grouped_by_the_given_architectures_in_their_order() -> None:
    rows = [trial(0, arch="cnn"), trial(1, arch="linear"), trial(2, arch="cnn"), trial(3, arch="resnet18")]
    grouped = by_arch((row for row in rows), ("linear", "cnn", "resnet34"))
    assert list(grouped.items()) == [("linear", rows[1:2]), ("cnn", [rows[0], rows[2]]), ("resnet34", [])]


def test_a_text_file_is_replaced_completely_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "made" / "run.toml"
    write_text(path, "first\n")
    write_text(path, "größer\n")
    assert path.read_text(encoding="utf-8") == "größer\n"
    assert list(path.parent.iterdir()) == [path]

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "third\n" * 100_000)
    assert path.read_text(encoding="utf-8") == "größer\n"


def test_json_is_read_back_unchanged_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    value = {"cnn": {"accuracy": {"mean": 0.1 + 0.2, "low": None}}, "names": ["größer"]}
    write_json(path, value)
    assert read_json(path) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"f1": float("nan")})
    assert read_json(path) == value
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, "{", ""])
def test_a_missing_or_broken_json_file_is_an_error_with_its_path(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(RunFolderError) as raised:
        read_json(path)
    assert str(path) in str(raised.value)


def test_seed_runs_of_a_configuration_are_ordered_by_their_seeds() -> None:
    names = [seed_name("winner", "cnn", index) for index in (10, 2, 0)]
    others = [seed_name("baseline", "cnn", 1), seed_name("winner", "resnet18", 1)]
    wanted = ["winner-cnn-0", "winner-cnn-2", "winner-cnn-10"]
    assert seeds_of([*others, *names], "winner", "cnn") == wanted
    assert {arch_of(name) for name in wanted} == {"cnn"}
