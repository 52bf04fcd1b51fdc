"""The status of a run, and its cancellation."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from trained import crown, train

from tune_brain import lock
from tune_brain.errors import RunFolderError
from tune_brain.files import write_json
from tune_brain.records import BASELINE, SeedRow, append, trials_of
from tune_brain.runs import Run, winner_file
from tune_brain.search.display import studies_table
from tune_brain.search.ledger import Ledger
from tune_brain.stages.status import cancel, status


def shown(run: Run, *, since: float | None) -> tuple[dict[str, str], str]:
    """The only row of the table by its headings, and its caption."""
    table = studies_table(run.config, Ledger(run.folder), 1, since=since)
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
    row, caption = shown(run, since=0.0)
    assert (row["tried"], row["promoted"], row["left"], row["failed"]) == ("9/9", "7", "4", "0")
    assert caption == "time left about 0 s"
    first = next(row for row in rows if row.configuration == 1)
    append(
        run.folder / "trials.jsonl",
        first.model_copy(update={"state": "failed", "score": None, "why": "diverged"}),
    )
    second = next(row for row in rows if row.configuration == 2)
    append(run.folder / "trials.jsonl", second.model_copy(update={"state": "running", "score": None}))
    row, _ = shown(run, since=0.0)
    assert (row["running"], row["left"], row["failed"]) == ("#2 at 1", "2", "1")
    # The second is that of a resumed search, whose driver has not come to this trial yet.
    for since in (None, second.started + 1):
        row, caption = shown(run, since=since)
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
    with pytest.raises(RunFolderError, match="Another user, or a command in a container"):
        cancel(foreign(PermissionError))
    with pytest.raises(RunFolderError, match="cannot be seen from here"):
        cancel(foreign(ProcessLookupError))


def test_a_process_that_only_has_the_number_of_the_writer_is_not_signalled(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's process 1 holds the lock; here that number is the init process, or another one's."""
    folder, signalled = made().folder, list[int]()
    monkeypatch.setattr(os, "kill", lambda pid, _: signalled.append(pid))
    monkeypatch.setattr("tune_brain.stages.status.WAIT", 0.0)
    # The other process ends when its input is closed, at the end of the block.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other, lock.hold(folder):
        with pytest.raises(RunFolderError, match="did not end"):
            cancel(folder)
        assert signalled == [os.getpid()]
        for pid in (other.pid, 2**22 + 1):  # the second is beyond the largest process number
            holder = lock.Holder(pid, socket.gethostname(), 0.0)
            (folder / lock.FILE).write_text(json.dumps(holder._asdict()))
            with pytest.raises(RunFolderError, match=rf"(?s)process {pid} .*In the container"):
                cancel(folder)
    assert signalled == [os.getpid()]


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


def test_status_says_which_machines_the_next_command_uses(
    made: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status(made().folder)
    assert "--address" not in capsys.readouterr().out
    there = made(out=tmp_path / "there", address="auto").folder
    status(there)
    printed = capsys.readouterr().out
    assert f"Continue with: tune-brain resume {there}\nThey join the Ray cluster" in printed
    assert "(--address auto). With --address local" in printed


def test_status_counts_the_seed_runs_while_they_are_trained(
    made: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(seeds=2)
    train(run)
    crown(run, values=run.spaces["linear"].baseline)
    with lock.hold(run.folder):
        status(run.folder)
        assert "time left about 0 s" in capsys.readouterr().out
    with lock.hold(run.folder, lock.EVALUATE):
        status(run.folder)
        printed = capsys.readouterr().out
        assert "evaluating: 0 of 4 seed runs trained" in printed
        assert "time left" not in printed
        scores = dict.fromkeys(("val_loss", "val_accuracy", "val_macro_f1", "seconds"), 0.5)
        row = SeedRow(arch="linear", role="baseline", index=1, seed=5, values={}, **scores)
        append(run.folder / "seed_runs.jsonl", row)
        status(run.folder)
        assert "evaluating: 0 of 4 seed runs trained" in capsys.readouterr().out, "its weights are missing"
        (run.folder / "weights").mkdir()
        (run.folder / "weights" / f"{row.name}.safetensors").touch()
        status(run.folder)
        assert "evaluating: 1 of 4 seed runs trained" in capsys.readouterr().out
    status(run.folder)
    assert "evaluating" not in capsys.readouterr().out


def test_status_of_a_search_that_learnt_nothing_does_not_advise_to_evaluate(
    made: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made()
    train(run)
    for arch in run.config.arch:
        winner_file(run.folder, arch).parent.mkdir(exist_ok=True)
        winner_file(run.folder, arch).touch()
    status(run.folder)
    assert "test, once: tune-brain evaluate" in capsys.readouterr().out
    # Every score of this search is below that of predicting its only class.
    write_json(run.folder / "record.json", {"data": {"counts": {"validation": {"glioma": 9}}}})
    status(run.folder)
    printed = capsys.readouterr().out
    assert "is better than predicting one class for every image" in printed
    assert f"tune-brain extend {run.folder} --spaces DIR --configs N" in printed
    assert "test, once: tune-brain evaluate" not in printed
    (run.folder / "seed_runs.jsonl").touch()
    status(run.folder)
    assert "test, once: tune-brain evaluate" in capsys.readouterr().out


def test_more_configurations_for_a_converged_study_need_it_to_go_on_sampling(
    made: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(until_converged=True, configs=40)
    train(run)
    winner_file(run.folder, "linear").parent.mkdir(exist_ok=True)
    winner_file(run.folder, "linear").touch()
    advice = f"tune-brain extend {run.folder} --configs N"
    status(run.folder)
    assert capsys.readouterr().out.endswith(f"{advice}\n")
    noise = [row for row in trials_of(run.folder) if row.configuration == BASELINE and row.epochs == 1]
    apart = [row.model_copy(update={"score": row.repeat % 2}) for row in noise]
    append(run.folder / "trials.jsonl", *apart)
    status(run.folder)
    assert capsys.readouterr().out.endswith(f"{advice} --no-until-converged\n")


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
