"""Workers that are gone before they begin with a trial: this is no attempt of the trial."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from played import failure, lose, lose_all, result
from ray.tune.search import Searcher

from tune_brain.records import Why, trials_of
from tune_brain.search.study import ATTEMPTS
from tune_brain.search.worker_health import LOST_IN_A_ROW, START_PATIENCE
from tune_brain.search.workers import ArrivalOrderScheduler
from tune_brain.slots import Slots


@pytest.mark.parametrize(
    ("why", "recorded", "slots"), [("lost", "lost", 1), ("raised", "lost", 1), ("memory", "memory", 2)]
)
def test_a_worker_that_is_gone_before_it_begins_costs_its_trial_no_attempt(
    make, tmp_path: Path, why: Why, recorded: Why, slots: int
) -> None:
    now = [100.0]
    searcher = make(arch=("linear",), clock=lambda: now[0])
    for name in "abcd":
        assert searcher.suggest(name)["number"] == 0
        assert not lose(searcher, name, why, "why it ended")
        now[0] += START_PATIENCE + 1
        row = trials_of(tmp_path)[0]
        assert (row.state, row.why, row.attempt) == ("failed", recorded, 0)
    again = searcher.suggest("again")
    assert (again["number"], again["slots"]) == (0, slots)
    assert trials_of(tmp_path)[0].attempt == 1


def test_an_attempt_is_left_after_two_losses_and_a_kill_before_the_third_begins(make, tmp_path: Path) -> None:
    now = [100.0]
    searcher = make(arch=("linear",), clock=lambda: now[0])
    for name in "ab":
        searcher.suggest(name)
        searcher.is_up(name, f"worker of {name}")
        lose(searcher, name)
    assert searcher.suggest("c")["number"] == 0
    lose(searcher, "c", "memory", "the node was running low on memory")
    now[0] += START_PATIENCE + 1
    assert trials_of(tmp_path)[0].attempt == ATTEMPTS["memory"] - 1
    assert searcher.suggest("d")["number"] == 0


def test_a_retry_for_two_slots_that_no_worker_takes_is_tried_with_one(make) -> None:
    """The only machine that always has room for it may be one on which no worker starts."""
    now = [100.0]
    searcher = make(arch=("linear",), clock=lambda: now[0])
    searcher.suggest("killed")
    searcher.is_up("killed", "its worker")
    lose(searcher, "killed", "memory", "the node was running low on memory")
    for number in range(LOST_IN_A_ROW - 1):
        assert searcher.suggest(f"{number}")["slots"] == 2
        lose(searcher, f"{number}")
        now[0] += START_PATIENCE + 1
    assert searcher.suggest("last")["slots"] == 1


def test_idle_workers_that_tune_ends_for_a_larger_one_are_up_no_longer(make) -> None:
    searcher = make(arch=("linear",), configs=100)
    for name in "ab":
        searcher.suggest(name)
        searcher.is_up(name, f"worker of {name}")
    searcher.on_trial_complete("a", result=result(1, 2, done=True))
    lose(searcher, "b", "memory", "the node was running low on memory")
    assert searcher.suggest("large")["slots"] == 2
    searcher.workers.did_not_start()
    assert searcher.workers.holds_back(1)


def test_one_gpu_of_two_on_which_nothing_can_train_costs_no_trial(make, tmp_path: Path) -> None:
    """Its worker, which had trained before, refuses the next trial and so does each that follows it."""
    now = [100.0]
    searcher = make(configs=6, clock=lambda: now[0])
    for name in "ab":
        searcher.suggest(name)
        searcher.is_up(name, f"worker of {name}")
    searcher.on_trial_complete("a", result=result(1, 2, done=True))
    busy, refused = "b", 0
    while busy:
        if isinstance(searcher.suggest(f"refused {refused}"), dict):
            searcher.workers.ended(f"refused {refused}", "worker of a")
            assert not lose(searcher, f"refused {refused}", "raised", "RuntimeError: others hold its GPU")
            refused += 1
            # The slot is not tried again at once, and the other worker goes on meanwhile.
            assert searcher.suggest("at once") is None
        searcher.on_trial_complete(busy, result=result(1, 2, done=True))
        now[0] += START_PATIENCE + 1
        busy = (
            f"after refusal {refused}"
            if isinstance(searcher.suggest(f"after refusal {refused}"), dict)
            else ""
        )
        if busy:
            searcher.is_up(busy, "worker of b")
    assert refused > LOST_IN_A_ROW
    assert {row.state for row in trials_of(tmp_path)} == {"completed"}


def test_a_worker_that_is_lost_before_it_takes_its_next_trial_is_up_no_longer(make) -> None:
    searcher = make(concurrency=2)
    searcher.suggest("a")
    searcher.is_up("a", "worker of a")
    searcher.on_trial_complete("a", result=result(1, 2, done=True))
    searcher.suggest("b")
    unstaged = list[object]()
    trial = SimpleNamespace(trial_id="b", temporary_state=SimpleNamespace(ray_actor="worker of a"))
    tune = SimpleNamespace(
        _staged_trials={"b": trial}.values(), _unstage_trial_with_resources=unstaged.append
    )
    ArrivalOrderScheduler(searcher).on_trial_error(tune, trial)
    assert unstaged == [trial]
    lose(searcher, "b")
    # It would count as one that is free.
    assert isinstance(searcher.suggest("another worker is tried with the only trial"), dict)
    assert searcher.suggest("but no second one") is None


def test_an_end_without_an_epoch_does_not_show_that_workers_can_live(make) -> None:
    searcher = make(configs=100)
    for number in range(LOST_IN_A_ROW):
        for name in (f"lost {number}", f"fails {number}"):
            assert isinstance(searcher.suggest(name), dict)
            searcher.is_up(name, f"worker of {name}")
        lose(searcher, f"lost {number}", "raised")
        searcher.on_trial_complete(f"fails {number}", result=failure("diverged", "nan"))
    assert searcher.suggest("last") == Searcher.FINISHED


def test_a_kill_for_memory_counts_against_the_machines_once_it_was_retried_with_more(
    make, tmp_path: Path
) -> None:
    searcher = make(arch=("linear",), configs=100)
    for number in range(LOST_IN_A_ROW):
        for name in (f"{number}", f"{number} again"):
            assert searcher.suggest(name)["number"] == number
            searcher.is_up(name, f"worker of {name}")
            lose(searcher, name, "memory", "the node was running low on memory")
    assert searcher.suggest("last") == Searcher.FINISHED
    # Each is granted one more attempt when the search is resumed.
    assert {(row.why, row.attempt) for row in trials_of(tmp_path)} == {("memory", ATTEMPTS["memory"] - 1)}
    assert make(arch=("linear",), configs=100).suggest("resumed")["number"] == 0


def test_a_search_without_machines_waits_even_if_all_workers_were_lost(make) -> None:
    machines = [Slots(count=2, gpus=0)]
    searcher = make(configs=100, slots=lambda: machines[-1])
    lose_all(searcher)
    machines.append(Slots(count=0, gpus=0, largest=0))
    assert searcher.suggest("none") is None
    machines.append(Slots(count=2, gpus=0))
    assert searcher.suggest("some") == Searcher.FINISHED
