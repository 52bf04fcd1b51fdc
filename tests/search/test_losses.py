"""Workers die, trials hang or run out of memory, machines come and go: what the searcher makes of it."""

from pathlib import Path

import pytest
from played import failure, lose, lose_all, result
from ray.tune.search import Searcher

from tune_brain.errors import RunFolderError
from tune_brain.records import Why, trials_of
from tune_brain.search import ledger
from tune_brain.search.study import ATTEMPTS
from tune_brain.search.worker_health import LOST_IN_A_ROW, START_PATIENCE
from tune_brain.slots import Slots


def test_a_lost_trial_is_taken_up_as_long_as_it_comes_further(make) -> None:
    searcher = make(arch=("linear",), configs=1, ladder=(9,))
    for epoch in range(1, 8):
        assert searcher.suggest(f"{epoch}")["number"] == 0
        searcher.is_up(f"{epoch}", f"worker {epoch}")
        searcher.on_trial_result(f"{epoch}", result(*range(1, epoch + 1)))
        lose(searcher, f"{epoch}")
    # From here on it repeats what it has.
    for attempt in range(ATTEMPTS["lost"]):
        assert searcher.suggest(f"again {attempt}")["number"] == 0
        searcher.is_up(f"again {attempt}", f"other worker {attempt}")
        searcher.on_trial_result(f"again {attempt}", result(1, 2))
        lose(searcher, f"again {attempt}")
    assert searcher.suggest("next")["number"] == 1


def test_a_row_says_how_its_trial_was_lost(make, tmp_path: Path) -> None:
    searcher = make()
    searcher.suggest("a")
    searcher.is_up("a", "worker of a")
    lose(searcher, "a", detail="its node has died")
    row = trials_of(tmp_path)[0]
    assert (row.state, row.why, row.detail, row.attempt) == ("failed", "lost", "its node has died", 1)


def test_the_loss_of_a_large_machine_does_not_end_a_search(make) -> None:
    searcher = make(configs=100, concurrency=20)
    names = [f"{number}" for number in range(20)]
    for name in names:
        searcher.suggest(name)
    for name in names:
        lose(searcher, name)
    assert len(names) > LOST_IN_A_ROW
    assert isinstance(searcher.suggest("next"), dict)


def test_a_machine_on_which_no_worker_starts_costs_no_trial_and_no_search(make, tmp_path: Path) -> None:
    now = [100.0]
    searcher = make(configs=100, clock=lambda: now[0])
    searcher.suggest("well")
    searcher.is_up("well", "worker of well")
    for number in range(2 * LOST_IN_A_ROW):
        assert searcher.suggest(f"{number}")["number"] == 1
        assert not lose(searcher, f"{number}", detail="it did not start: ModuleNotFoundError")
        # The machine is tried again after a while.
        assert searcher.suggest("at once") is None
        now[0] += START_PATIENCE + 1
    row = trials_of(tmp_path)[1]
    assert (row.state, row.why, row.attempt) == ("failed", "lost", 0)
    searcher.on_trial_complete("well", result=result(1, 2, done=True))
    # The worker that is up takes it.
    again = searcher.suggest("again")
    assert (again["number"], searcher.workers.all_lost) == (1, False)
    assert trials_of(tmp_path)[1].attempt == 1


def test_where_no_worker_starts_the_search_ends_and_no_trial_fails_for_good(make, tmp_path: Path) -> None:
    searcher = make(configs=100)
    for number in range(LOST_IN_A_ROW):
        assert isinstance(searcher.suggest(f"{number}"), dict)
        lose(searcher, f"{number}")
    assert searcher.suggest("last") == Searcher.FINISHED
    assert all(row.attempt < ATTEMPTS["lost"] for row in trials_of(tmp_path))


@pytest.mark.parametrize("why", ["lost", "raised"])
def test_where_no_worker_can_live_its_trials_are_tried_again_when_the_search_goes_on(
    make, tmp_path: Path, why: Why
) -> None:
    searcher = make(configs=100)
    lose_all(searcher, why)
    assert searcher.suggest("last") == Searcher.FINISHED
    assert {(row.why, row.attempt) for row in trials_of(tmp_path)} == {(why, ATTEMPTS[why] - 1)}
    later = make(configs=100)
    # Where they are the cause themselves, the search comes past them.
    for number in (0, 1):
        assert later.suggest(f"again {number}")["number"] == number
        later.is_up(f"again {number}", f"worker of {number}")
        lose(later, f"again {number}", why)
    assert later.suggest("next")["number"] == 2


def test_a_trial_that_hangs_is_overdue_and_fails_for_good(make, tmp_path: Path) -> None:
    now = [100.0]
    searcher = make(trial_timeout=60.0, clock=lambda: now[0])
    for name in ("hangs", "waits for its worker"):
        searcher.suggest(name)
    searcher.is_up("hangs", "worker of hangs")
    now[0] += 59
    assert searcher.overdue() == []
    now[0] += 2
    assert searcher.overdue() == ["hangs"]
    lose(searcher, "hangs", detail="it was killed by ray.kill")
    row = trials_of(tmp_path)[0]
    assert (row.state, row.why, row.detail) == ("failed", "timeout", "it trained for more than 60 s")
    assert searcher.suggest("next")["number"] == 2


def test_a_trial_that_has_ended_does_not_hang(make) -> None:
    now = [100.0]
    searcher = make(trial_timeout=60.0, clock=lambda: now[0])
    searcher.suggest("a")
    searcher.on_trial_result("a", result(1, 2, done=True))
    now[0] += 100
    assert searcher.overdue() == []


def test_what_ran_out_of_memory_waits_for_the_room_of_two_and_then_fails(make, tmp_path: Path) -> None:
    searcher = make(arch=("linear",))
    assert searcher.suggest("a")["slots"] == 1
    searcher.suggest("b")
    searcher.on_trial_complete("a", result=failure("memory", "OutOfMemoryError: 3 GiB"))
    again = searcher.suggest("again")
    assert (again["number"], again["slots"]) == (0, 2)
    searcher.on_trial_complete("b", result=result(1, 2, done=True))
    assert searcher.suggest("beside it") is None
    searcher.on_trial_complete("again", result=failure("memory", "OutOfMemoryError: 3 GiB"))
    row = trials_of(tmp_path)[0]
    assert (row.state, row.why, row.attempt) == ("failed", "memory", 2)
    assert searcher.suggest("next")["slots"] == 1


def test_what_waits_for_the_room_of_two_is_not_passed_by_the_other_studies(make) -> None:
    machines = Slots(count=3, gpus=0, largest=2)
    searcher = make(configs=100, slots=lambda: machines)
    for name in "abc":
        searcher.suggest(name)
    number = searcher._in_flight["a"].trial
    searcher.on_trial_complete("a", result=failure("memory", "OutOfMemoryError: 3 GiB"))
    again = searcher.suggest("again")
    assert (again["number"], again["slots"]) == (number, 2)
    # Only one of the machines has room for it, and its slots may not be the ones that are free.
    for name in "bc":
        searcher.on_trial_complete(name, result=result(1, 2, done=True))
        assert searcher.suggest("passes by") is None
    searcher.is_up("again", "worker of again")
    assert searcher.suggest("beside it")["slots"] == 1


def test_the_last_attempt_with_what_is_lost_has_the_room_of_two(make) -> None:
    searcher = make(arch=("linear",))
    for room in (1, 1, 2):
        assert searcher.suggest("a")["slots"] == room
        searcher.is_up("a", "worker of a")
        interrupted = make(arch=("linear",)).suggest("resumed")["slots"]
        assert interrupted == room
        lose(searcher, "a")
    assert searcher.suggest("b")["number"] == 1


def test_an_interrupted_second_attempt_has_the_room_of_two_again(make) -> None:
    searcher = make(arch=("linear",))
    searcher.suggest("a")
    lose(searcher, "a", "memory", "Task was killed due to the node running low on memory")
    assert searcher.suggest("again")["slots"] == 2
    assert make(arch=("linear",)).suggest("resumed")["slots"] == 2


def test_more_trials_start_when_a_machine_joins_and_none_while_there_is_none(make) -> None:
    machines = [Slots(count=1, gpus=0)]
    searcher = make(slots=lambda: machines[-1])
    assert isinstance(searcher.suggest("a"), dict)
    assert searcher.suggest("b") is None
    machines.append(Slots(count=2, gpus=0))
    assert isinstance(searcher.suggest("b"), dict)
    machines.append(Slots(count=0, gpus=0, largest=0))
    for name in ("a", "b"):
        lose(searcher, name)
    assert searcher.suggest("c") is None
    machines.append(Slots(count=1, gpus=0))
    assert searcher.suggest("c") not in (None, Searcher.FINISHED)


@pytest.mark.parametrize(("broken", "state"), [("rows", "running"), ("log", "completed")])
def test_what_cannot_be_written_or_said_is_no_lost_worker_and_undoes_no_trial(
    make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, state: str
) -> None:
    searcher = make(arch=("linear",))
    searcher.suggest("a")
    searcher.is_up("a", "worker of a")

    def full(*_: object) -> None:
        raise RunFolderError("A run's folder must be writable")

    with monkeypatch.context() as patch:
        patch.setattr(*((ledger, "append", full) if broken == "rows" else (searcher, "_on_end", full)))
        with pytest.raises(RunFolderError):
            searcher.on_trial_complete("a", result(1, done=True))
    # Tune, which heard an exception, says that the worker is gone.
    with pytest.raises(RunFolderError):
        lose(searcher, "a")
    assert trials_of(tmp_path)[0].state == state


def test_what_runs_out_of_memory_after_a_loss_has_the_room_of_two_all_the_same(make, tmp_path: Path) -> None:
    searcher = make(arch=("linear",))
    searcher.suggest("a")
    searcher.is_up("a", "worker of a")
    lose(searcher, "a")
    assert searcher.suggest("b")["slots"] == 1
    searcher.is_up("b", "worker of b")
    searcher.on_trial_complete("b", failure("memory", "OutOfMemoryError: 3 GiB"))
    again = searcher.suggest("c")
    assert (again["number"], again["slots"]) == (0, 2)
    searcher.is_up("c", "worker of c")
    searcher.on_trial_complete("c", failure("memory", "OutOfMemoryError: 3 GiB"))
    assert trials_of(tmp_path)[0].why == "memory"
    assert searcher.suggest("d")["number"] == 1


def test_room_for_memory_is_asked_for_still_where_its_worker_did_not_start(make) -> None:
    now = [100.0]
    searcher = make(arch=("linear",), clock=lambda: now[0])
    searcher.suggest("a")
    searcher.is_up("a", "worker of a")
    searcher.on_trial_complete("a", failure("memory", "OutOfMemoryError: 3 GiB"))
    for name in ("b", "c"):
        assert searcher.suggest(name)["slots"] == 2
        lose(searcher, name, detail="it did not start: ModuleNotFoundError")
        now[0] += START_PATIENCE + 1


def test_what_no_machine_can_hold_any_more_is_withdrawn_and_has_the_room_there_is(make) -> None:
    machines = [Slots(count=3, gpus=0, largest=2)]
    searcher = make(arch=("linear",), slots=lambda: machines[-1])
    searcher.suggest("a")
    searcher.on_trial_complete("a", failure("memory", "OutOfMemoryError: 3 GiB"))
    assert searcher.suggest("b")["slots"] == 2
    assert searcher.stranded() == set()
    # Who adds machines sees what is waited for.
    machines.append(Slots(count=0, gpus=0, largest=0))
    assert searcher.stranded() == set()
    machines.append(Slots(count=1, gpus=0, largest=1))
    assert searcher.stranded() == {"b"}
    searcher.on_trial_complete("b")
    again = searcher.suggest("c")
    assert (again["number"], again["slots"]) == (0, 1)
    searcher.is_up("c", "worker of c")
    assert searcher.stranded() == set()


def test_a_smaller_machine_after_the_loss_of_all_does_not_end_a_search(make) -> None:
    machines = [Slots(count=8, gpus=0)]
    searcher = make(configs=100, slots=lambda: machines[-1])
    names = [f"{number}" for number in range(8)]
    for name in names:
        searcher.suggest(name)
        searcher.is_up(name, f"worker of {name}")
    machines.append(Slots(count=0, gpus=0, largest=0))
    for name in names:
        lose(searcher, name)
    assert searcher.suggest("none") is None
    machines.append(Slots(count=3, gpus=0))
    assert isinstance(searcher.suggest("next"), dict)
