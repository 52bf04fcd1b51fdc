"""What stands in a run's folder, as far as the run has come."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_brain import records
from tune_brain.config import RunConfig
from tune_brain.records import EpochRow, TrialRow
from tune_brain.runs import open_run


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A run's files, read; those that a later stage has yet to write are empty."""

    config: RunConfig
    record: dict[str, Any]
    trials: list[TrialRow]
    """The last row of each trial."""
    epochs: list[EpochRow]
    scores: dict[str, Any]
    comparisons: dict[str, Any]
    sealed: dict[str, Any]


def read_contents(folder: Path) -> Contents:
    """Read a run's folder.

    Raises:
        RunFolderError: there is no run in it, or a file is damaged.
        ConfigError: its run.toml or a space file is damaged.
    """
    return Contents(
        config=open_run(folder).config,
        record=_read_if_there(folder / "record.json"),
        trials=records.latest(records.read(folder / "trials.jsonl", TrialRow)),
        epochs=records.read(folder / "epochs.jsonl", EpochRow),
        scores=_read_if_there(folder / "scores.json"),
        comparisons=_read_if_there(folder / "comparisons.json"),
        sealed=_read_if_there(folder / "sealed.json"),
    )


def _read_if_there(path: Path) -> dict[str, Any]:
    return records.read_json(path) if path.exists() else {}
