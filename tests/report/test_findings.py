"""What a page says of a run that is running, has learnt nothing, or is finished."""

import json
import re
import shutil
from pathlib import Path

import pytest
from pages import Page
from starlette.testclient import TestClient

from tune_brain import lock
from tune_brain.records import TrialRow, append, read
from tune_brain.report import findings
from tune_brain.report.live import application
from tune_brain.report.page import fragment
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView
from tune_brain.report.views import VIEWS
from tune_brain.search.display import studies_table
from tune_brain.search.ledger import Ledger


@pytest.fixture
def searched(scored_run, tmp_path) -> Path:
    """A run whose search has ended and whose test is sealed."""
    run = Path(shutil.copytree(scored_run, tmp_path / "run"))
    for name in ("scores.json", "comparisons.json", "seed_runs.jsonl", "sealed.json"):
        (run / name).unlink()
    return run


@pytest.fixture
def untaught(searched) -> Path:
    """The same, ended by a time budget, with scores of the cnn that a constant prediction reaches."""
    run_toml = searched / "run.toml"
    run_toml.write_text(f"time_budget = 60.0\n{run_toml.read_text()}")
    rows = read(searched / "trials.jsonl", TrialRow)
    (searched / "trials.jsonl").unlink()
    for row in rows:
        score = 0.09 if row.score and row.arch == "cnn" else row.score
        append(searched / "trials.jsonl", row.model_copy(update={"score": score}))
    return searched


def overview_of(run: Path) -> str:
    return Page(fragment(VIEWS[0], RunView(read_contents(run)), [])).text


def test_a_search_that_learnt_nothing_is_not_sent_to_the_sealed_test(untaught):
    nothing = (
        "No full-length trial of cnn is better than predicting one class for every image (macro-F1 0.100"
    )
    text = overview_of(untaught)
    assert text.count(nothing) == 2, "as the next step and among the caveats"
    assert "Score the winners on the sealed test, once" not in text
    assert f"tune-brain extend {untaught} --spaces DIR --configs N" in text
    shown = RunView(read_contents(untaught))
    assert shown.leader == "linear"
    assert findings.overview(shown).startswith("linear leads")
    (untaught / "seed_runs.jsonl").touch()
    text = overview_of(untaught)
    assert "tune-brain extend" not in text
    assert "Score the winners on the sealed test, once" in text


def test_where_nothing_will_be_trained_a_running_command_has_no_share_of_it(untaught, monkeypatch):
    monkeypatch.setattr(findings, "planned_epochs", lambda *_: 0)
    with lock.hold(untaught):
        shown = RunView(read_contents(untaught))
    assert findings.next_step(shown).endswith("of about 0 epochs are trained.")


def test_a_leader_that_learnt_nothing_is_not_praised(untaught):
    shown = RunView(read_contents(untaught))
    shown.trials = shown.of("cnn")
    assert findings.overview(shown) == (
        "cnn has learnt nothing: its macro-F1 on validation, 0.090, is no better than that of predicting one "
        "class for every image"
    )


@pytest.mark.parametrize(
    ("baseline", "tuned", "against"),
    [
        (0.9, [(0.83, 0.85), (0.7, 0.7)], ", 6.0 points below its untuned baseline"),
        (0.8, [(0.83, 0.85), (0.7, 0.7)], ", 4.0 points above its untuned baseline"),
        (0.8401, [(0.83, 0.85), (0.7, 0.7)], ", level with its untuned baseline"),
        (0.9, [(0.83,), (0.7,)], ", untuned"),
        (None, [(0.83,), (0.7,)], ""),
    ],
)
def test_a_leader_is_untuned_only_if_it_is_the_baseline(new_run, baseline, tuned, against):
    """After a final round a winner may score less than a baseline that is not in it."""
    run = new_run(archs=("cnn",), searched=(), evaluated=False)
    scores = [(baseline,), *tuned]
    rows = [(number, repeat, score) for number, own in enumerate(scores) for repeat, score in enumerate(own)]
    for trial, (number, repeat, score) in enumerate(rows):
        state = "failed" if score is None else "completed"
        fixed = {"arch": "cnn", "epochs": 12, "values": {}, "seed": trial, "started": 0.0, "state": state}
        row = TrialRow(trial=trial, configuration=number, repeat=repeat, score=score, **fixed)
        append(run / "trials.jsonl", row)
    sentence = findings.overview(RunView(read_contents(run)))
    assert sentence.startswith("cnn leads with macro-F1 0.")
    assert sentence.endswith(f" on validation{against}")


def test_a_search_that_learnt_something_is_sent_to_the_sealed_test(searched, monkeypatch):
    monkeypatch.setattr(findings, "_at_edges", lambda _: iter([]))
    assert "predicting one class" not in overview_of(searched)
    assert "tune-brain evaluate" in findings.next_step(RunView(read_contents(searched)))


def test_page_and_status_count_the_same_epochs(searched):
    rows = read(searched / "trials.jsonl", TrialRow)
    (searched / "trials.jsonl").unlink()
    append(searched / "trials.jsonl", *rows[: len(rows) // 3])
    with lock.hold(searched):
        shown = RunView(read_contents(searched))
        sentence = findings.next_step(shown)
        table = studies_table(shown.config, Ledger(searched), 2, since=0.0)
    done, planned = (
        sum(int(str(cell).split("/")[place]) for cell in table.columns[-1].cells) for place in (0, 1)
    )
    assert re.findall(r"\d[\d,]*", sentence)[:2] == [str(done), str(planned)]
    assert 0 < done < planned


def test_a_share_of_the_search_is_named_only_when_it_has_ended(searched):
    assert re.search(r"after \d+ % of the search", findings.progress(RunView(read_contents(searched))))
    with lock.hold(searched, lock.EVALUATE):
        assert re.search(r"after \d+ % of the search", findings.progress(RunView(read_contents(searched))))
    with lock.hold(searched):
        assert re.search(r"after \d+ (s|min), with", findings.progress(RunView(read_contents(searched))))


def test_an_interrupted_search_has_no_share_of_itself(searched):
    client = TestClient(application([searched]), base_url="http://127.0.0.1")
    before = client.get("/run/0/views").json()
    shutil.rmtree(searched / "winners")
    assert client.get("/run/0/views").json()["progress"] != before["progress"]
    assert re.search(r"after \d+ (s|min), with", findings.progress(RunView(read_contents(searched))))


def test_only_completed_trials_count_as_full_length(searched):
    rows = read(searched / "trials.jsonl", TrialRow)
    sampled = {(row.arch, row.configuration) for row in rows if row.configuration}
    full = [row for row in rows if row.epochs == 12 and row.configuration]
    top = {(row.arch, row.configuration) for row in full}
    heading = f"{{}} of {len(sampled)} sampled configurations completed 12 epochs"
    assert findings.ladder(RunView(read_contents(searched))) == heading.format(len(top))
    diverged = {"state": "failed", "why": "diverged", "score": None}
    append(searched / "trials.jsonl", *(row.model_copy(update=diverged) for row in full))
    append(searched / "trials.jsonl", full[0].model_copy(update={"state": "running"}))
    assert findings.ladder(RunView(read_contents(searched))) == heading.format(0)


def test_a_machine_that_is_not_known_yet_is_not_counted(searched):
    heading = findings.machines(RunView(read_contents(searched)))
    assert heading.startswith("1 slot on 1 machine: ")
    row = read(searched / "trials.jsonl", TrialRow)[-1]
    waits = {"trial": 999, "state": "running", "score": None, "node": "", "seconds": 0.0}
    append(searched / "trials.jsonl", row.model_copy(update=waits))
    shown = RunView(read_contents(searched))
    assert findings.machines(shown).startswith("1 slot on 1 machine: ")
    shown.timeline = shown.timeline[shown.timeline["node"] == ""]
    assert findings.machines(shown) == "No worker has begun a trial yet, no attempt failed"


def test_the_best_winner_is_not_said_to_be_better_than_the_nearest_neighbour(scored_run):
    shown = RunView(read_contents(scored_run))
    unseen = (shown.scores["metric"] == "f1") & (shown.scores["part"] == "unseen")
    floor = unseen & (shown.scores["classifier"] == "nearest_neighbour")
    shown.scores.loc[floor, "mean"] = 0.99
    heading = findings.overview(shown)
    assert re.fullmatch(
        r"cnn is the best winner on the unseen test, macro-F1 .*neighbour reaches 0.990", heading
    )
    shown.scores.loc[shown.scores["classifier"] == "cnn", "classifier"] = "ensemble"
    assert findings.overview(shown).startswith("The ensemble scores above every winner on the unseen test, ")


def test_the_best_so_far_is_so_only_while_the_search_runs(searched):
    assert "at full length so far" not in overview_of(searched)
    with lock.hold(searched, lock.EVALUATE):
        assert "at full length so far" not in overview_of(searched)
    with lock.hold(searched):
        assert "at full length so far" in overview_of(searched)


def test_classes_with_few_images_are_named_with_their_numbers(searched):
    record = json.loads((searched / "record.json").read_text())
    record["data"]["counts"]["validation"] = {"glioma": 9, "meningioma": 10, "notumor": 30, "pituitary": 40}
    record["data"]["unseen"] |= {"glioma": 1, "pituitary": 12}
    (searched / "record.json").write_text(json.dumps(record))
    text = overview_of(searched)
    assert "With fewer than 10 images of a class" in text
    assert "glioma (validation 9, unseen test 1), meningioma (unseen test 6)." in text


def test_a_dashboard_is_live_only_while_a_command_writes_to_the_run(searched):
    client = TestClient(application([searched]), base_url="http://127.0.0.1")
    live = '<span id="live" role="status">live</span>'
    assert client.get("/run/0/views").headers["X-State"] == "not running"
    assert live not in client.get("/run/0").text
    with lock.hold(searched):
        assert client.get("/run/0/views").headers["X-State"] == "live"
        assert live in client.get("/run/0").text
