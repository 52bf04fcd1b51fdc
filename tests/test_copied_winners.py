"""Copies of a run whose search was extended, which has removed its winners until it has chosen again."""

from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tune_brain import copies
from tune_brain.copies import Place


@pytest.mark.parametrize(("where", "follows"), [("memory://extended/run", False), ("copy", True)])
def test_winners_that_the_run_no_longer_has_are_removed_before_new_rows_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, follows: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    MemoryFileSystem.store.clear()
    run, row = tmp_path / "run", '{"trial": 0}\n'
    (run / "winners" / "cnn-again").mkdir(parents=True)
    for name in ("run.toml", "winners/cnn.toml", "winners/linear.toml"):
        (run / name).write_text(name)
    (run / "trials.jsonl").write_text(row)
    source, target = Place.of(str(run)), Place.of(where)
    copied = copies._copy(source, target, {}, print)
    target.write("winners/cnn-again/epochs.jsonl", b"trained from the copy")
    (run / "winners/cnn.toml").unlink()
    copied = copies._copy(source, target, copied if follows else {}, print)
    assert "winners/cnn.toml" in target.files(), "it is still the choice from the rows that are there"
    (run / "trials.jsonl").write_text(row + row)
    write, seen = Place.write, []

    def watched(place: Place, name: str, content: bytes) -> None:
        seen.append("winners/cnn.toml" in place.files())
        write(place, name, content)

    monkeypatch.setattr(Place, "write", watched)
    copies._copy(source, target, copied if follows else {}, print)
    assert seen
    assert not any(seen)
    assert target.files().keys() == {
        "run.toml",
        "trials.jsonl",
        "winners/linear.toml",
        "winners/cnn-again/epochs.jsonl",
    }
