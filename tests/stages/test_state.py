"""Where a run stands and what comes next: said alike by status, list and page."""

from collections.abc import Callable

import pytest
from trained import crown, train

from tune_brain import lock, runs
from tune_brain.files import write_json
from tune_brain.layout import SCORES, TRIALS
from tune_brain.records import append, trials_of
from tune_brain.report.findings import next_step
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView
from tune_brain.runs import Run
from tune_brain.search.state import RunState, state_of
from tune_brain.stages.status import status


def state(run: Run) -> RunState:
    """The state of a run as its folder is now."""
    writer = lock.holder(run.folder)
    return state_of(run.config, trials_of(run.folder), writer.command if writer else None)


def test_a_state_follows_from_the_files_and_the_lock_of_a_run(made: Callable[..., Run]) -> None:
    run = made()
    train(run)
    assert state(run) == "interrupted"
    crown(run)
    assert state(run) == "searched"
    for command, called in (("", "searching"), (lock.EVALUATE, "evaluating")):
        with lock.hold(run.folder, command):
            assert state(run) == called
    rows = trials_of(run.folder)
    append(run.folder / TRIALS, *(row.model_copy(update={"state": "failed", "score": None}) for row in rows))
    assert state(run) == "failed"
    write_json(run.folder / SCORES, {})
    assert state(run) == "evaluated"


@pytest.mark.parametrize(("budget", "called"), [(None, "interrupted"), (60.0, "out of time")])
def test_page_and_status_do_not_send_an_unfinished_search_to_the_test(
    made: Callable[..., Run], capsys: pytest.CaptureFixture[str], budget: float | None, called: RunState
) -> None:
    """It has winners if a time budget ended it, or if an older copy of it was restored."""
    run = made(time_budget=budget, configs=9)
    train(run, most=5)
    crown(run)
    assert state(run) == called
    status(run.folder)
    printed = capsys.readouterr().out
    advice = next_step(RunView(read_contents(run.folder)))
    assert advice in printed
    assert f"tune-brain resume {run.folder}" in advice
    assert ("tune-brain evaluate" in advice) == (budget is not None)


def test_winners_of_a_run_whose_path_has_a_control_character_can_be_read(made: Callable[..., Run]) -> None:
    run = made()
    odd = Run(run.config.model_copy(update={"out": run.folder.with_name("bell\a")}), run.spaces)
    crown(odd)
    assert list(runs.read_winners(odd)) == ["linear"]
