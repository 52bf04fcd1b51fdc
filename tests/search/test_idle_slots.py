"""Idle slots at a search's end: the last seeds of the final round compute with their CPUs."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from driven import Start, asked, rows
from played import result

from tune_brain.search.searcher import RowSearcher
from tune_brain.search.workers import Workers
from tune_brain.slots import Slots


def begin(searcher: RowSearcher, name: str) -> dict[str, Any]:
    config = searcher.suggest(name)
    assert isinstance(config, dict)
    searcher.is_up(name, f"worker of {name}")
    return config


def end(searcher: RowSearcher, name: str) -> None:
    searcher.on_trial_complete(name, result=result(1, 2, done=True))


def at_the_end(make, slots: Slots, **options: Any) -> RowSearcher:
    """A search that has trained everything but its final round, of which two trials, `a` and `b`, run."""
    machines = [Slots(count=1, gpus=0)]
    options = {"arch": ("linear",), "configs": 1, "ladder": (2,), "final_round": (2, 1), **options}
    searcher = make(slots=lambda: machines[0], **options)
    for name in ("baseline", "first"):
        begin(searcher, name)
        end(searcher, name)
    machines[0] = slots
    for name in "ab":
        begin(searcher, name)
    return searcher


def test_the_last_trials_share_the_slots_that_nothing_else_can_use(make) -> None:
    searcher = at_the_end(make, Slots(count=7, gpus=0, largest=7))
    assert searcher.threads() == 3
    end(searcher, "a")
    # Not 7: more were never measured.
    assert searcher.threads() == 4
    end(searcher, "b")
    assert searcher.threads() == 1


def test_there_is_nothing_to_share_while_all_slots_train(make) -> None:
    assert at_the_end(make, Slots(count=2, gpus=0, largest=2)).threads() == 1


@pytest.mark.parametrize(
    ("slots", "address"),
    [
        (Slots(count=4, gpus=0.25, largest=4), None),
        (Slots(count=4, gpus=0, largest=4), "auto"),
        # `--concurrency 2` on four CPUs.
        (Slots(count=2, gpus=0, limit=2, largest=4), None),
    ],
)
def test_on_gpus_on_a_cluster_and_beyond_the_limit_every_trial_keeps_to_one_cpu(
    make, slots: Slots, address: str | None
) -> None:
    assert at_the_end(make, slots, address=address).threads() == 1


def test_trials_of_the_ladder_never_get_more(make) -> None:
    machines = Slots(count=4, gpus=0, largest=4)
    searcher = make(arch=("linear",), configs=1, ladder=(2,), final_round=(0, 0), slots=lambda: machines)
    begin(searcher, "baseline")
    begin(searcher, "first")
    assert searcher.suggest("nothing is left") is None
    assert searcher.threads() == 1
    end(searcher, "baseline")
    assert searcher.threads() == 1


def test_seeds_of_one_study_share_nothing_while_another_can_still_start_a_trial(make) -> None:
    machines = [Slots(count=1, gpus=0)]
    searcher = make(configs=1, ladder=(2,), final_round=(2, 1), slots=lambda: machines[0])
    name = "first"
    while not searcher._ledger.trials[begin(searcher, name)["number"]].repeat:
        end(searcher, name)
        name += " next"
    machines[0] = Slots(count=8, gpus=0, largest=8)
    assert searcher.threads() == 1


def test_a_worker_hears_of_it_before_its_next_epoch_and_when_others_start_again(make) -> None:
    told = list[int]()
    actor = SimpleNamespace(use_threads=SimpleNamespace(remote=told.append))
    trial = SimpleNamespace(trial_id="b", temporary_state=SimpleNamespace(ray_actor=actor))
    searcher = at_the_end(make, Slots(count=6, gpus=0, largest=6))
    workers = Workers(searcher, print)

    def epoch_ends() -> list[int]:
        workers.on_trial_result(trial=trial, result={"over_budget": False, "device": "cpu"})
        return told

    assert epoch_ends() == [3]
    searcher.on_trial_complete("a", error=True)
    searcher.lost("a", "lost", "its machine was turned off")
    assert epoch_ends() == [3, 1]
    begin(searcher, "a again")
    assert epoch_ends() == [3, 1, 3]
    end(searcher, "a again")
    assert epoch_ends() == [3, 1, 3, 4]


def test_a_worker_hears_of_nothing_while_all_slots_train(make) -> None:
    workers = Workers(at_the_end(make, Slots(count=2, gpus=0, largest=2)), print)
    trial = SimpleNamespace(trial_id="b")
    workers.on_trial_result(trial=trial, result={"over_budget": False, "device": "cpu"})


def test_a_worker_uses_them_until_its_next_trial_which_gives_the_rows_of_a_fresh_one(start: Start) -> None:
    fresh = rows(start(asked(1, seed=1)))
    worker = start(asked())
    worker.use_threads(2)
    try:
        rows(worker)
        assert torch.get_num_threads() == 2
        worker.reset(asked(1, seed=1))
        assert torch.get_num_threads() == 1
        assert rows(worker) == fresh
    finally:
        torch.set_num_threads(1)
