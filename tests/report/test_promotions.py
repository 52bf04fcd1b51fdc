"""What the ladder view says of promoted trials that were started again, and of beginnings of a one-cycle."""

from pathlib import Path

from pages import Page

from tune_brain.records import TrialRow, append, read
from tune_brain.report.page import fragment
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView
from tune_brain.report.views import VIEWS

BEGINNINGS = "unless it is at most a twelfth of the full length"


def view_of(run: Path) -> RunView:
    return RunView(read_contents(run))


def ladder_of(run: Path) -> str:
    (view,) = (view for view in VIEWS if view.name == "ladder")
    return Page(fragment(view, view_of(run), [])).text


def test_a_promotion_is_ranked_at_its_first_start_whatever_was_retried_later(new_run):
    run = new_run(archs=("cnn",), configs=9, evaluated=False)
    before = view_of(run).trials
    first = before[before["fate"] == "promoted"].iloc[0]
    wanted = (first["configuration"], 12, 0, "running")
    rows = read(run / "trials.jsonl", TrialRow)
    (above,) = (row for row in rows if (row.configuration, row.epochs, row.repeat, row.state) == wanted)
    # The search was interrupted and resumed a day later, when all trials of the rung had ended.
    again = above.model_copy(update={"started": above.started + 86400})
    append(run / "trials.jsonl", again, again.model_copy(update={"state": "completed", "score": 0.9}))
    after = view_of(run).trials.set_index("trial").loc[first["trial"]]
    assert first["peers"] < (before["epochs"] == 1).sum() - 1
    assert after[["fate", "rank", "peers"]].tolist() == first[["fate", "rank", "peers"]].tolist()


def test_beginnings_of_a_one_cycle_are_explained_only_where_there_are_any(new_run):
    run = new_run(archs=("cnn",), evaluated=False)
    text = ladder_of(run)
    assert BEGINNINGS not in text
    assert "Every trial is a complete one-cycle. Configurations in the best third" in text
    rows = read(run / "trials.jsonl", TrialRow)
    append(run / "trials.jsonl", rows[-1].model_copy(update={"epochs": 1, "cycle": 12}))
    assert f"Every trial is a complete one-cycle, {BEGINNINGS}" in ladder_of(run)
