"""What a page says of trials that were running when their search was killed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pages import Page
from starlette.testclient import TestClient

from tune_brain import lock
from tune_brain.records import TrialRow, append, read
from tune_brain.report.live import application
from tune_brain.report.page import fragment
from tune_brain.report.run_reader import Reader, read_contents
from tune_brain.report.run_view import RunView
from tune_brain.report.search_views import machines
from tune_brain.report.tables import pace
from tune_brain.report.views import VIEWS


@pytest.fixture
def killed(new_run):
    """A run whose last trial never ended."""
    run = new_run(archs=("cnn",), evaluated=False)
    *rows, last = read(run / "trials.jsonl", TrialRow)
    (run / "trials.jsonl").unlink()
    append(run / "trials.jsonl", *rows)
    assert (rows[-1].trial, rows[-1].state) == (last.trial, "running")
    return run


@contextmanager
def searched_since(began: float, run: Path) -> Iterator[None]:
    """Hold a run's lock as if it had been taken at that Unix time."""
    with lock.hold(run):
        holder = json.loads((run / lock.FILE).read_text())
        (run / lock.FILE).write_text(json.dumps(holder | {"since": began}))
        yield


def texts(run) -> dict[str, str]:
    """The texts of two views of a run."""
    shown, views = RunView(read_contents(run)), ("overview", "machines")
    return {view.name: Page(fragment(view, shown, [])).text for view in VIEWS if view.name in views}


def test_a_trial_that_no_command_trains_is_interrupted(killed):
    with searched_since(0.0, killed):
        running = texts(killed)
    assert "running 1, failed" in running["overview"]
    assert "pale bars are still running" in running["machines"]
    assert "interrupted:" not in running["machines"]
    for command in (None, lock.EVALUATE):
        if command:
            with lock.hold(killed, command):
                found = texts(killed)
        else:
            found = texts(killed)
        assert "running 0, interrupted 1, failed" in found["overview"]
        assert "still running" not in found["machines"]
        assert "attempt 1: interrupted" in found["machines"]


def test_an_interrupted_trial_has_not_ended_and_its_bar_ends_at_the_latest_recorded_time(killed):
    with searched_since(0.0, killed):
        running = RunView(read_contents(killed))
        assert running.trials["fate"].iloc[-1] == "running"
    shown = RunView(read_contents(killed))
    assert shown.trials["fate"].iloc[-1] == "interrupted"
    assert shown.trials["rank"].isna().tolist() == running.trials["rank"].isna().tolist()
    assert shown.ends["trial"].tolist() == running.ends["trial"].tolist()
    last = shown.timeline.iloc[-1]
    assert last["state"] == "interrupted"
    assert last["ended"] == running.timeline["ended"].iloc[-1] == shown.timeline["ended"].max()
    assert last["ended"] > last["started"]
    (troubles,) = machines(shown, [])["troubles"][-1:]
    assert troubles["trial"] == last["trial"]


def test_after_a_resume_trials_of_the_dead_search_are_interrupted_until_they_are_started_again(killed):
    rows = read(killed / "trials.jsonl", TrialRow)
    with lock.hold(killed):
        shown = RunView(read_contents(killed))
        assert shown.trials["state"].iloc[-1] == "interrupted"
        assert shown.timeline["state"].iloc[-1] == "interrupted"
        began = lock.holder(killed).since
        append(killed / "trials.jsonl", rows[-1].model_copy(update={"started": began + 1}))
        shown = RunView(read_contents(killed))
        assert shown.trials["state"].iloc[-1] == "running"
        assert shown.timeline["state"].tolist()[-2:] == ["interrupted", "running"]


def test_an_open_page_is_told_when_another_search_has_taken_the_lock(killed):
    reader = Reader(killed)
    before = [reader.stamps()]
    with lock.hold(killed):
        before.append(reader.stamps())
    with lock.hold(killed):
        assert reader.stamps() not in before


def test_a_pause_is_no_work_where_a_new_trial_ends_before_the_interrupted_ones_start(killed):
    rows = read(killed / "trials.jsonl", TrialRow)
    last = rows[-1]
    resumed = last.started + 100_000
    new = last.model_copy(update={"trial": last.trial + 1, "started": resumed + 1})
    ended = new.model_copy(update={"state": "completed", "score": 0.5, "seconds": 2.0})
    again = last.model_copy(update={"started": resumed + 3})
    bars = pace.timeline([*rows, new, ended, again], resumed + 9, resumed=[resumed])
    dead = bars[bars["trial"] == last.trial].iloc[0]
    assert dead["state"] == "interrupted"
    assert dead["ended"] < resumed
    assert bars[bars["trial"] == new.trial]["state"].tolist() == ["completed"]
    assert bars["state"].iloc[-1] == "running"


def test_epochs_of_an_interrupted_trial_are_spent_when_it_has_ended(killed):
    rows = read(killed / "trials.jsonl", TrialRow)
    append(killed / "trials.jsonl", rows[0])
    with searched_since(0.0, killed):
        running = RunView(read_contents(killed)).ends
    interrupted = RunView(read_contents(killed)).ends
    assert rows[0].trial not in set(interrupted["trial"])
    assert interrupted["spent"].tolist() == running["spent"].tolist()


def test_an_open_page_is_told_when_the_search_is_killed(killed):
    client = TestClient(application([killed]), base_url="http://127.0.0.1")
    with searched_since(0.0, killed):
        before = client.get("/run/0/views").json()
        assert "running 1, failed" in client.get("/run/0/views/overview").text
    after = client.get("/run/0/views").json()
    changed = {view for view in after if after[view] != before[view]}
    assert changed >= {"overview", "machines", "configurations", "steps"}
    assert "interrupted 1, failed" in client.get("/run/0/views/overview").text
