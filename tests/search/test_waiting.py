"""Trials that wait for a worker: for how long, for which room, and to what end."""

from pathlib import Path
from typing import Any

from played import failure, lose_all, result
from ray.tune.search import Searcher

from tune_brain.records import trials_of
from tune_brain.search.in_flight import LARGE_RETRY_PATIENCE
from tune_brain.search.study import ATTEMPTS
from tune_brain.slots import Slots


def two_of_which_one_fails_for_memory(make, **machines: Any):
    """A searcher with two trials up, `a` and `b`, of which `a` has just failed for want of memory."""
    searcher = make(configs=100, slots=lambda: Slots(count=2, gpus=0, **machines))
    for name in "ab":
        searcher.suggest(name)
        searcher.is_up(name, f"worker of {name}")
    searcher.on_trial_complete("a", result=failure("memory", "OutOfMemoryError: 3 GiB"))
    return searcher


def test_what_waits_long_for_the_room_of_two_lets_others_pass(make) -> None:
    now = [100.0]
    machines = Slots(count=3, gpus=0, largest=3)
    searcher = make(configs=100, slots=lambda: machines, clock=lambda: now[0])
    searcher.suggest("a")
    searcher.on_trial_complete("a", result=failure("memory", "OutOfMemoryError: 3 GiB"))
    assert searcher.suggest("again")["slots"] == 2
    now[0] += LARGE_RETRY_PATIENCE - 1
    assert searcher.suggest("passes by") is None
    now[0] += 2
    assert searcher.suggest("passes by")["slots"] == 1
    # As if it were not there, since others may hold what it waits for.
    assert searcher.suggest("two more")["slots"] == 1
    assert searcher.suggest("three more")["slots"] == 1
    assert searcher.suggest("too many") is None


def test_a_retry_that_needs_two_slots_keeps_others_waiting_until_they_are_free(make) -> None:
    now = [100.0]
    machines = Slots(count=2, gpus=0, largest=2)
    searcher = make(configs=100, slots=lambda: machines, clock=lambda: now[0])
    for name in "ab":
        searcher.suggest(name)
        searcher.is_up(name, f"worker of {name}")
    searcher.on_trial_complete("a", result=failure("memory", "OutOfMemoryError: 3 GiB"))
    again = searcher.suggest("again")
    assert (again["slots"], again["number"]) == (2, 0)
    searcher.on_trial_complete("b", result=result(1, 2, done=True))
    assert searcher.suggest("both slots are for the retry") is None
    searcher.is_up("again", "worker of both slots")
    now[0] += LARGE_RETRY_PATIENCE + 1
    assert searcher.suggest("both slots are taken") is None
    searcher.on_trial_complete("again", result=result(1, 2, done=True))
    assert searcher.suggest("next")["slots"] == 1


def test_a_retry_that_needs_two_slots_does_not_exceed_the_concurrency_of_a_larger_machine(make) -> None:
    searcher = two_of_which_one_fails_for_memory(make, limit=2, largest=4)
    assert searcher.suggest("Ray would start it beside b") is None
    searcher.on_trial_complete("b", result=result(1, 2, done=True))
    again = searcher.suggest("again")
    assert (again["slots"], again["number"]) == (2, 0)


def test_a_limit_beyond_the_machines_does_not_hold_a_retry_back(make) -> None:
    searcher = two_of_which_one_fails_for_memory(make, limit=4, largest=2)
    assert searcher.suggest("again")["slots"] == 2


def test_a_retry_that_needs_more_than_the_concurrency_trains_alone(make) -> None:
    machines = Slots(count=1, gpus=0, limit=1, largest=4)
    searcher = make(configs=100, slots=lambda: machines)
    searcher.suggest("a")
    searcher.on_trial_complete("a", result=failure("memory", "OutOfMemoryError: 3 GiB"))
    again = searcher.suggest("again")
    assert (again["slots"], again["number"]) == (2, 0)
    assert searcher.suggest("beside it") is None


def test_two_retries_that_wait_for_two_slots_both_let_others_pass(make) -> None:
    now = [100.0]
    machines = Slots(count=4, gpus=0, largest=4)
    searcher = make(arch=("linear",), configs=100, slots=lambda: machines, clock=lambda: now[0])
    for name in "abcd":
        searcher.suggest(name)
        searcher.is_up(name, f"worker of {name}")
    searcher.on_trial_complete("a", result=failure("memory", "OutOfMemoryError: 3 GiB"))
    assert searcher.suggest("again")["number"] == 0
    now[0] += LARGE_RETRY_PATIENCE + 1
    assert searcher.suggest("passes by")["number"] == 4
    searcher.on_trial_complete("b", result=failure("memory", "OutOfMemoryError: 3 GiB"))
    assert searcher.suggest("has its own patience")["number"] == 1
    searcher.on_trial_complete("c", result=result(1, 2, done=True))
    assert searcher.suggest("waits for it") is None
    now[0] += LARGE_RETRY_PATIENCE + 1
    assert searcher.suggest("passes by both")["number"] == 5


def test_what_ran_out_of_the_memory_of_a_whole_gpu_is_tried_again_beside_others(make) -> None:
    machines = Slots(count=2, gpus=1.0, largest=2)
    searcher = make(configs=100, slots=lambda: machines)
    searcher.suggest("a")
    searcher.suggest("b")
    searcher.on_trial_complete("a", result=failure("memory", "OutOfMemoryError: CUDA out of memory"))
    again = searcher.suggest("again")
    assert (again["slots"], again["number"]) == (1, 0)
    searcher.on_trial_complete("b", result=failure("memory", "a worker was killed: node low on memory"))
    searcher.on_trial_complete("again", result=result(1, 2, done=True))
    again = searcher.suggest("more of the machine's memory")
    assert (again["slots"], again["number"]) == (2, 1)


def test_when_the_time_is_over_what_has_no_worker_is_withdrawn_and_tried_when_the_search_goes_on(
    make, tmp_path: Path
) -> None:
    now = [100.0]
    searcher = make(arch=("linear",), time_budget=60.0, clock=lambda: now[0])
    for name in "ab":
        searcher.suggest(name)
    searcher.is_up("a", "worker of a")
    assert searcher.stranded() == set()
    now[0] += 61
    assert searcher.stranded() == {"b"}
    searcher.on_trial_complete("b")
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", result=result(1, 2, done=True))
    assert searcher.suggest("d") == Searcher.FINISHED
    rows = trials_of(tmp_path)
    assert [(row.state, row.why, row.attempt) for row in rows] == [
        ("completed", "finished", 1),
        ("failed", "lost", 0),
    ]
    assert make(arch=("linear",)).suggest("later")["number"] == 1


def test_where_the_time_is_over_and_no_worker_could_live_trials_are_given_back(make, tmp_path: Path) -> None:
    now = [100.0]
    searcher = make(configs=100, time_budget=60.0, clock=lambda: now[0])
    lose_all(searcher)
    now[0] += 61
    assert searcher.suggest("late") == Searcher.FINISHED
    assert {row.attempt for row in trials_of(tmp_path)} == {ATTEMPTS["lost"] - 1}
