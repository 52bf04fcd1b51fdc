"""The searcher as Ray Tune calls it, with results made up here instead of trained."""

from pathlib import Path

import pytest
from played import failure, lose, result, simulated, work
from ray.tune.search import Searcher

from tune_brain.config import ARCHITECTURES
from tune_brain.records import EpochRow, read, trials_of
from tune_brain.search.worker_health import LOST_IN_A_ROW
from tune_brain.slots import Slots


def test_every_study_is_finished_and_the_rows_tell_everything(make, tmp_path: Path) -> None:
    searcher = make()
    handed = work(searcher)
    assert searcher.suggest("last") == Searcher.FINISHED
    rows = trials_of(tmp_path)
    assert len(rows) == len(handed)
    assert {row.state for row in rows} == {"completed"}
    assert {(row.arch, row.configuration) for row in rows if row.epochs == 2} > {("linear", 0), ("cnn", 0)}
    epochs = read(tmp_path / "epochs.jsonl", EpochRow)
    assert [(row.trial, row.epoch) for row in epochs] == [
        (row.trial, epoch) for row in rows for epoch in range(1, row.epochs + 1)
    ]
    # A configuration keeps its values from rung to rung, and its trials have seeds of their own.
    for row in rows:
        peers = [
            other for other in rows if (other.arch, other.configuration) == (row.arch, row.configuration)
        ]
        assert all(other.values == row.values for other in peers)
    assert len({row.seed for row in rows}) == len(rows)


def test_the_shortest_trials_begin_a_full_cycle_and_their_rows_say_so(make, tmp_path: Path) -> None:
    searcher = make(ladder=(1, 3, 12))
    handed = {one["number"]: one["trial"] for one in work(searcher)}
    wanted = {1: 12, 3: None, 12: None}
    for row in trials_of(tmp_path):
        assert row.cycle == handed[row.trial]["cycle"] == wanted[row.epochs]


def test_no_more_is_handed_out_than_there_are_slots(make) -> None:
    searcher = make()
    assert isinstance(searcher.suggest("a"), dict)
    assert isinstance(searcher.suggest("b"), dict)
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", result=result(1, 2, done=True))
    assert isinstance(searcher.suggest("d"), dict)


@pytest.mark.parametrize("bounded", [{"concurrency": 1}, {"concurrency": 4, "time_budget": 1e6}])
def test_the_study_that_is_furthest_behind_in_epochs_gets_the_slot(make, tmp_path: Path, bounded) -> None:
    searcher = make(configs=6, ladder=(1, 8), **bounded)
    work(searcher)
    spent = {"linear": 0, "cnn": 0}
    for row in trials_of(tmp_path):
        if all(done < 20 for done in spent.values()):
            assert spent[row.arch] == min(spent.values())
        spent[row.arch] += row.epochs


@pytest.mark.parametrize(
    ("arch", "slots"), [(ARCHITECTURES, 2), (ARCHITECTURES, 12), (ARCHITECTURES[::-1], 6)]
)
def test_no_slot_waits_for_the_heaviest_study_to_climb_its_ladder(make, arch, slots: int) -> None:
    made = {"configs": 8 * max(3, slots // 3), "ladder": (3, 6, 12), "sampler": "random"}
    searcher = make(arch=arch, concurrency=slots, **made)
    paces = {name: 0.3 * 2.4**place for place, name in enumerate(ARCHITECTURES)}
    spans = simulated(searcher, lambda trial: trial["epochs"] * paces[trial["arch"]])
    end = 0.9 * max(ended for _, ended in spans)
    busy = sum(max(0.0, min(ended, end) - begun) for begun, ended in spans)
    assert busy > 0.95 * slots * end


def test_every_study_has_its_baseline_early(make, tmp_path: Path) -> None:
    work(make(arch=ARCHITECTURES, concurrency=16), limit=5)
    baselines = [row.arch for row in trials_of(tmp_path) if row.configuration == 0]
    assert baselines == list(reversed(ARCHITECTURES))


def test_a_diverged_trial_fails_for_good_and_a_raised_one_is_tried_once_more(make, tmp_path: Path) -> None:
    searcher = make(arch=("linear",), configs=1, ladder=(1,))
    searcher.suggest("baseline")
    searcher.on_trial_complete("baseline", result=failure("diverged", "nan"))
    first = searcher.suggest("first")
    searcher.on_trial_complete("first", result=failure("raised", "ValueError: no"))
    again = searcher.suggest("again")
    assert again == first
    searcher.on_trial_complete("again", result=failure("raised", "ValueError: no"))
    assert searcher.suggest("end") == Searcher.FINISHED
    baseline, other = trials_of(tmp_path)
    assert (baseline.state, baseline.why, baseline.attempt) == ("failed", "diverged", 1)
    assert (other.state, other.why, other.attempt) == ("failed", "raised", 2)


@pytest.mark.parametrize("stop", range(1, 10))
def test_a_search_that_was_killed_anywhere_goes_on_as_if_it_had_not_been(
    make, tmp_path: Path, stop: int
) -> None:
    whole = work(make(concurrency=1))
    for file in tmp_path.glob("*.jsonl"):
        file.unlink()
    killed = make(concurrency=1)
    work(killed, limit=stop)
    killed.suggest("under way when the driver dies")
    resumed = work(make(concurrency=1))
    before = [row for row in trials_of(tmp_path) if row.trial < stop]
    assert [row.seed for row in before] == [config["trial"]["seed"] for config in whole[:stop]]
    assert resumed == whole[stop:]


def test_after_the_time_budget_a_search_without_machines_ends(make) -> None:
    now = [0.0]
    searcher = make(time_budget=60.0, clock=lambda: now[0], slots=lambda: Slots(count=0, gpus=0))
    assert searcher.suggest("early") is None
    now[0] += 61
    assert searcher.suggest("late") == Searcher.FINISHED


def test_trials_start_until_the_time_budget_is_spent_and_not_after(make) -> None:
    now = [0.0]
    searcher = make(time_budget=60.0, clock=lambda: now[0])
    now[0] = 59.0
    assert isinstance(searcher.suggest("a"), dict)
    now[0] = 61.0
    assert searcher.suggest("b") is None
    searcher.on_trial_complete("a", result=result(1, 2, done=True))
    assert searcher.suggest("c") == Searcher.FINISHED


def test_every_trial_of_a_search_has_a_seed_of_its_own(make, tmp_path: Path) -> None:
    work(make(configs=4, final_round=(2, 2)))
    rows = trials_of(tmp_path)
    assert {row.repeat for row in rows} == {0, 1, 2}
    assert len({row.seed for row in rows}) == len(rows)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [30, 41, 55])
def test_a_search_that_was_killed_after_tpe_took_over_goes_on_as_if_it_had_not_been(
    make, tmp_path: Path, stop: int
) -> None:
    whole = work(make(arch=("linear",), configs=48, concurrency=1))
    for file in tmp_path.glob("*.jsonl"):
        file.unlink()
    killed = make(arch=("linear",), configs=48, concurrency=1)
    work(killed, limit=stop)
    killed.suggest("under way when the driver dies")
    assert work(make(arch=("linear",), configs=48, concurrency=1)) == whole[stop:]


def test_the_number_of_a_trial_whose_epochs_are_on_disk_is_not_used_again(make, tmp_path: Path) -> None:
    # As in a copy that was made between the two files.
    searcher = make(arch=("linear",), concurrency=1)
    work(searcher, limit=2)
    file = tmp_path / "trials.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if '"trial":0' in line))
    assert make(arch=("linear",)).suggest("next")["number"] == 2


def test_the_time_that_a_trial_waits_for_its_worker_is_not_counted(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = make(arch=("linear",), configs=1, ladder=(1,))
    now = [1000.0]
    monkeypatch.setattr("tune_brain.search.searcher.time.time", lambda: now[0])
    searcher.suggest("a")
    now[0] += 3600
    searcher.is_up("a", "worker")
    now[0] += 5
    searcher.on_trial_complete("a", result=result(1, done=True))
    (row,) = trials_of(tmp_path)
    assert (row.started, row.seconds) == (4600.0, 5.0)


def test_epochs_handed_over_twice_are_written_once(make, tmp_path: Path) -> None:
    searcher = make(arch=("linear",), configs=1, ladder=(3,))
    searcher.suggest("a")
    searcher.on_trial_result("a", result(1, 2))
    searcher.on_trial_complete("a", result=result(1, 2, 3, score=0.7, done=True))
    assert [(row.state, row.score) for row in trials_of(tmp_path)] == [("completed", 0.7)]
    assert [row.epoch for row in read(tmp_path / "epochs.jsonl", EpochRow)] == [1, 2, 3]


def test_a_search_whose_workers_all_die_ends(make) -> None:
    searcher = make(configs=100)
    for number in range(LOST_IN_A_ROW - 1):
        assert isinstance(searcher.suggest(f"{number}"), dict)
        lose(searcher, f"{number}")
    assert isinstance(searcher.suggest("well"), dict)
    searcher.on_trial_complete("well", result=result(1, 2, done=True))
    for number in range(LOST_IN_A_ROW):
        assert isinstance(searcher.suggest(f"{number}"), dict)
        lose(searcher, f"{number}")
    assert searcher.suggest("last") == Searcher.FINISHED


def test_a_row_says_where_a_long_trial_runs(make, tmp_path: Path) -> None:
    searcher = make(arch=("linear",), configs=1, ladder=(3,))
    searcher.suggest("a")
    assert trials_of(tmp_path)[0].node == ""
    searcher.on_trial_result("a", result(1))
    row = trials_of(tmp_path)[0]
    assert (row.state, row.node, row.worker) == ("running", "127.0.0.1", 1)
    lose(searcher, "a")
    searcher.suggest("again")
    row = trials_of(tmp_path)[0]
    assert (row.state, row.node, row.attempt, row.detail) == ("running", "", 1, "")
