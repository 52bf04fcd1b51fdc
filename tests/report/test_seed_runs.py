"""How far an evaluation has got, on the page and its live server."""

import pytest
from starlette.testclient import TestClient

from tune_brain import lock, runs
from tune_brain.evaluate.seed_runs import plan
from tune_brain.layout import COMPARISONS, SCORES, SEAL, SEED_RUNS
from tune_brain.records import BASELINE
from tune_brain.report import findings
from tune_brain.report.live import application
from tune_brain.report.run_reader import read_contents
from tune_brain.report.run_view import RunView


@pytest.fixture
def evaluated(new_run):
    """A run whose seed runs are trained, and whose test is sealed."""
    run = new_run()
    for name in (SCORES, COMPARISONS, SEAL):
        (run / name).unlink()
    (run / "weights").mkdir()
    for one in planned_of(run):
        one.weights(run).touch()
    return run


def planned_of(folder):
    run = runs.open_run(folder)
    return plan(run, runs.read_winners(run))


def next_step(run) -> str:
    with lock.hold(run, lock.EVALUATE):
        return findings.next_step(RunView(read_contents(run)))


def test_the_page_counts_the_seed_runs_of_an_evaluation_that_runs(evaluated):
    file = evaluated / SEED_RUNS
    planned = planned_of(evaluated)
    rows = file.read_text().splitlines(keepends=True)
    for trained in (len(planned), 2, 0):
        file.write_text("".join(rows[:trained]))
        counted = f"{trained} of {len(planned)} seed runs trained"
        assert next_step(evaluated) == f"Wait: the search has ended; evaluating: {counted}."
    assert "evaluating" not in findings.next_step(RunView(read_contents(evaluated)))
    with lock.hold(evaluated):
        assert "Wait: the run is in progress" in findings.next_step(RunView(read_contents(evaluated)))


def test_a_seed_run_without_its_weights_is_trained_again(evaluated):
    first, *others = planned_of(evaluated)
    client = TestClient(application([evaluated]), base_url="http://127.0.0.1")
    before = client.get("/run/0/views").json()
    first.weights(evaluated).unlink()
    assert f"{len(others)} of {len(others) + 1} seed runs trained" in next_step(evaluated)
    assert client.get("/run/0/views").json()["overview"] != before["overview"]


def test_a_baseline_that_won_is_one_of_the_planned_seed_runs_once(evaluated):
    (evaluated / SEED_RUNS).unlink()
    run = runs.open_run(evaluated)
    winners = runs.read_winners(run)
    before = plan(run, winners)
    runs.write_winner(evaluated, winners["cnn"].model_copy(update={"configuration": BASELINE}))
    planned = plan(run, runs.read_winners(run))
    assert len(planned) == len(before) - run.config.seeds
    assert f"0 of {len(planned)} seed runs trained" in next_step(evaluated)


def test_the_overview_is_rendered_again_when_a_seed_run_has_been_trained(evaluated):
    client = TestClient(application([evaluated]), base_url="http://127.0.0.1")
    before = client.get("/run/0/views").json()
    with (evaluated / SEED_RUNS).open("a") as rows:
        rows.write((evaluated / SEED_RUNS).read_text().splitlines(keepends=True)[-1])
    assert client.get("/run/0/views").json()["overview"] != before["overview"]
