"""The status of a run, and its cancellation."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from trained import train

from tune_brain import lock
from tune_brain.errors import RunFolderError
from tune_brain.records import append, trials_of, write_json
from tune_brain.runs import Run, winner_file
from tune_brain.search.display import studies_table
from tune_brain.search.ledger import Ledger
from tune_brain.stages.status import cancel, status


def shown(run: Run, *, alive: bool) -> tuple[dict[str, str], str]:
    """The only row of the table by its headings, and its caption."""
    table = studies_table(run.config, Ledger(run.folder), 1, alive=alive)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    cells = re.split(r" {2,}", captured.get().splitlines()[1].strip())
    return dict(zip([str(column.header) for column in table.columns], cells, strict=True)), str(table.caption)


def test_the_table_counts_promoted_left_failed_and_running_configurations(
    made: Callable[..., Run],
) -> None:
    run = made(configs=9, ladder=(1, 2, 4))
    train(run)
    rows = trials_of(run.folder)
    # Later configurations score more, so seven were promoted on arrival, five of them twice.
    row, caption = shown(run, alive=True)
    assert (row["tried"], row["promoted"], row["left"], row["failed"]) == ("9/9", "7", "4", "0")
    assert caption == "time left about 0 s"
    first = next(row for row in rows if row.configuration == 1)
    append(
        run.folder / "trials.jsonl",
        first.model_copy(update={"state": "failed", "score": None, "why": "diverged"}),
    )
    second = next(row for row in rows if row.configuration == 2)
    append(run.folder / "trials.jsonl", second.model_copy(update={"state": "running", "score": None}))
    row, _ = shown(run, alive=True)
    assert (row["running"], row["left"], row["failed"]) == ("#2 at 1", "2", "1")
    row, caption = shown(run, alive=False)
    assert (row["running"], row["left"]) == ("-", "2")
    # The whole interrupted trial is still to be trained.
    assert caption != "time left about 0 s"


@pytest.fixture
def foreign(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[type[OSError]], Path]]:
    """A run that is being written by a process which cannot be signalled from here."""
    folder = made().folder

    def refuses(error: type[OSError]) -> Path:
        def kill(*_: Any) -> None:
            raise error

        monkeypatch.setattr(os, "kill", kill)
        return folder

    with lock.hold(folder):
        yield refuses


def test_a_run_of_another_user_or_container_is_not_cancelled(
    foreign: Callable[[type[OSError]], Path],
) -> None:
    with pytest.raises(RunFolderError, match="started by another user"):
        cancel(foreign(PermissionError))
    with pytest.raises(RunFolderError, match="cannot be seen from here"):
        cancel(foreign(ProcessLookupError))


def test_cancelling_a_run_that_just_ended_succeeds(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made().folder
    held = lock.hold(folder)
    held.__enter__()

    def kill(*_: Any) -> None:
        held.__exit__(None, None, None)
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)
    assert lock.holder(folder) is not None
    assert cancel(folder)
    assert lock.holder(folder) is None


def test_status_of_a_run_without_trials_names_the_command_to_start(
    made: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made()
    status(run.folder)
    assert f"Continue with: tune-brain resume {run.folder}" in capsys.readouterr().out
    (run.folder / "winners").mkdir()
    status(run.folder)
    assert f"Continue with: tune-brain resume {run.folder}" in capsys.readouterr().out


def test_status_of_a_search_that_learnt_nothing_does_not_advise_to_evaluate(
    made: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made()
    train(run)
    for arch in run.config.arch:
        winner_file(run.folder, arch).parent.mkdir(exist_ok=True)
        winner_file(run.folder, arch).touch()
    status(run.folder)
    assert "Next: tune-brain evaluate" in capsys.readouterr().out
    # Every score of this search is below that of predicting its only class.
    write_json(run.folder / "record.json", {"data": {"counts": {"validation": {"glioma": 9}}}})
    status(run.folder)
    printed = capsys.readouterr().out
    assert "is better than predicting one class for every image" in printed
    assert f"tune-brain extend {run.folder} --spaces DIR" in printed
    assert "Next: tune-brain evaluate" not in printed
    (run.folder / "seed_runs.jsonl").touch()
    status(run.folder)
    assert "Next: tune-brain evaluate" in capsys.readouterr().out


def test_status_of_a_search_without_a_completed_full_length_trial_says_why(
    made: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made()
    train(run)
    status(run.folder)
    assert "tune-brain resume" in capsys.readouterr().out
    for why, advice in (("timeout", "rows of the trials"), ("diverged", "lower learning rates")):
        failed = {"state": "failed", "score": None, "why": why}
        rows = [row.model_copy(update=failed) for row in trials_of(run.folder)]
        append(run.folder / "trials.jsonl", *rows)
        status(run.folder)
        printed = capsys.readouterr().out
        assert f"completed: {why} {len(rows)} times. " in printed
        assert advice in printed
        assert "tune-brain resume" not in printed
