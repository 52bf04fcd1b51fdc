"""What Ray says of workers and machines, as the searcher and the user are told it."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from played import failure, result
from ray.exceptions import RayTaskError
from ray.tune.error import TuneError
from ray.tune.execution.class_cache import _ActorClassCache

from tune_brain import __version__
from tune_brain.files import write_json
from tune_brain.progress import Progress
from tune_brain.search import run, workers
from tune_brain.search.in_flight import LARGE_RETRY_PATIENCE
from tune_brain.search.ledger import Ledger
from tune_brain.search.study import Study
from tune_brain.search.workers import ArrivalOrderScheduler, Machines, Workers
from tune_brain.slots import Slots

RAISED = """Failure # 1 (occurred at 2026-11-26_12-00-00)
The actor died because of an error raised in its creation task, ray::Worker.__init__() (pid=7, ip=192.0.2.7)
  File "trainable.py", line 99, in __init__
ModuleNotFoundError: No module named 'tune_brain'
"""
KILLED = """Failure # 1 (occurred at 2026-11-26_12-00-00)
The actor died unexpectedly before finishing this task.
	class_name: TrialWorker
	ip: 192.0.2.8
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR
"""


def test_a_machine_on_which_no_worker_starts_is_named_once(make, tmp_path: Path) -> None:
    searcher, told = make(concurrency=4), list[str]()
    heard = Workers(searcher, told.append)
    searcher.suggest("well")
    searcher.on_trial_result("well", result(1))
    for number, words in enumerate([RAISED, KILLED, RAISED]):
        trial = SimpleNamespace(trial_id=f"{number}", error_file=tmp_path / "error.txt")
        trial.error_file.write_text(words)
        searcher.workers.cautious_until = 0.0
        searcher.suggest(trial.trial_id)
        heard.on_trial_error(0, [], trial)
    assert [line.partition(" (")[0] for line in told] == [
        "a worker did not start on 192.0.2.7",
        "a worker did not start on 192.0.2.8",
    ]
    assert told[0].endswith("it did not start: ModuleNotFoundError: No module named 'tune_brain'")


def test_what_a_trial_raised_in_its_worker_is_no_loss_of_a_machine() -> None:
    lines = (
        "Traceback (most recent call last):",
        "  File ...",
        "torch.AcceleratorError: CUDA error: launch failure",
        "For debugging consider ...",
    )
    cause = RuntimeError("launch failure")
    words = str(RayTaskError("train", "\n".join(lines), cause, proctitle="ray::TrialWorker.train"))
    assert workers._loss(words) == ("raised", "torch.AcceleratorError: CUDA error: launch failure")
    assert workers._loss("") == ("lost", "")


def test_a_full_gpu_on_which_no_worker_starts_is_no_want_of_a_larger_slot() -> None:
    words = (
        "The actor died because of an error raised in its creation task, ray::TrialWorker.__init__()\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 MiB."
    )
    why, detail = workers._loss(words)
    assert why == "lost"
    assert detail.startswith("it did not start: torch.OutOfMemoryError: CUDA out of memory")


def test_trials_that_wait_long_for_a_worker_are_said_each_time_that_it_begins(make) -> None:
    now, told = [100.0], list[str]()
    searcher = make(clock=lambda: now[0])
    heard = Workers(searcher, told.append)
    for name in "ab":
        searcher.suggest(name)
    for seconds in (workers.LONG - 1, 2, 100):
        now[0] += seconds
        heard.on_step_end(0, [])
    assert [line.partition(":")[0] for line in told] == ["2 trials wait for a worker"]
    for name in "ab":
        searcher.is_up(name, f"worker of {name}")
    heard.on_step_end(0, [])
    assert len(told) == 1
    searcher.on_trial_complete("a", result=result(1, 2, done=True))
    searcher.suggest("c")
    now[0] += 100
    heard.on_step_end(0, [])
    assert len(told) == 2


def test_a_retry_that_waits_for_a_neighbour_s_slot_is_not_said_to_wait_for_machines(make) -> None:
    now, told = [100.0], list[str]()
    machines = Slots(count=2, gpus=0, largest=2)
    searcher = make(slots=lambda: machines, clock=lambda: now[0])
    heard = Workers(searcher, told.append)
    for name in "ab":
        searcher.suggest(name)
        searcher.is_up(name, f"worker of {name}")
    searcher.on_trial_complete("a", result=failure("memory", "OutOfMemoryError: 3 GiB"))
    assert searcher.suggest("again")["slots"] == 2
    now[0] += workers.LONG + 1
    heard.on_step_end(0, [])
    assert told == []
    now[0] += LARGE_RETRY_PATIENCE
    heard.on_step_end(0, [])
    assert [line.partition(":")[0] for line in told] == ["1 trials wait for a worker"]


@pytest.mark.parametrize(("gpus", "device", "times"), [(1.0, "cpu", 1), (1.0, "cuda", 0), (0.0, "cpu", 0)])
def test_a_gpu_that_torch_cannot_use_is_said_once(make, gpus: float, device: str, times: int) -> None:
    told = list[str]()
    heard = Workers(make(), told.append, gpus)
    for _ in range(2):
        heard.on_trial_result(
            trial=SimpleNamespace(trial_id="a"), result={"device": device, "node_ip": "192.0.2.7"}
        )
    assert [line.partition(" (")[0] for line in told] == ["torch cannot use the GPU of 192.0.2.7"] * times


def test_keys_of_a_cloud_are_not_handed_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def handed() -> set[str]:
        return set(_ActorClassCache().get(type("Worker", (), {}))._default_options["runtime_env"]["env_vars"])

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert "AWS_SECRET_ACCESS_KEY" in handed()
    with run._without_keys():
        assert not any("AWS" in name for name in handed())
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "secret"


def test_a_search_that_has_no_machine_left_says_once_that_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    there, told = [[{"CPU": 2.0}], [], [], [{"CPU": 1.0}]], list[str]()
    alive = lambda: [{"Alive": True, "Resources": one} for one in there.pop(0)]  # noqa: E731
    monkeypatch.setattr(ray, "nodes", alive)
    monkeypatch.setattr(workers, "COUNT_EVERY", -1.0)
    machines = Machines(Slots(count=2, gpus=0), told.append)
    assert [machines.slots().count for _ in range(4)] == [2, 0, 0, 1]
    assert told == [
        "machines came or went: waiting for a machine",
        "machines came or went: 1 trials at a time",
    ]


def test_checkpoints_that_have_no_room_are_said_once(make) -> None:
    told = list[str]()
    heard = Workers(make(), told.append)
    for over in (False, True, True):
        heard.on_trial_result(
            trial=SimpleNamespace(trial_id="a"), result={"over_budget": over, "device": "cpu"}
        )
    assert [line.partition(":")[0] for line in told] == ["checkpoints exceed --disk-budget"]


def test_of_what_workers_say_tune_keeps_nothing_that_grows(make) -> None:
    heard = Workers(make(), print)
    numbers = {"over_budget": False, "time_total_s": 3.0, "config": {"number": 1}}
    said = result(1, 2, done=True)
    told = said | numbers
    heard.on_trial_result(trial=SimpleNamespace(trial_id="a"), result=told)
    # The searcher hears of the end after this.
    assert told == said
    trial = SimpleNamespace(last_result=told)
    heard.on_trial_complete(0, [], trial)
    assert "rows" not in trial.last_result


def test_checkpoints_are_of_these_images_and_weights(tmp_path: Path) -> None:
    assert run._made_with(tmp_path) == __version__
    write_json(tmp_path / "record.json", {"data": {"cut_digest": "d1"}, "weights": "ImageNet"})
    assert run._made_with(tmp_path) == f"d1 | ImageNet | {__version__}"


def test_a_ray_without_the_method_that_is_mended_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hasattr(workers.RayActorManager, "_actor_task_failed"), "this Ray may need no mending"
    monkeypatch.setattr(workers, "RayActorManager", None)
    with workers.memory_ends_one_worker():
        pass


def test_what_ray_prints_of_its_workers_is_not_shown(
    make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Tuner:
        def __init__(self, *_: object, **__: object) -> None: ...

        def fit(self) -> None:
            print("(raylet) A worker died or was killed while executing a task")

    monkeypatch.setattr(run.tune, "Tuner", Tuner)
    run._fit(None, make(), Progress(), Path(), 0.0)
    print("the run's folder")
    assert capsys.readouterr().out == "the run's folder\n"


def test_a_full_disk_is_told_as_it_is(make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tuner:
        def __init__(self, *_: object, **__: object) -> None: ...

        def fit(self) -> None:
            # As Tune does where it cannot write down how a trial failed.
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError:
                raise TuneError("Traceback")  # noqa: B904

    monkeypatch.setattr(run.tune, "Tuner", Tuner)
    with pytest.raises(OSError, match="No space"):
        run._fit(None, make(), Progress(), Path(), 0.0)


def test_what_failed_for_good_leaves_room_for_others(row, tmp_path: Path) -> None:
    for name in ("7.safetensors", "7.part", "17.safetensors", "70.part"):
        (tmp_path / name).touch()
    for goes_on in (
        row(1, 3, trial=7),
        row(1, 3, None, trial=7, why="lost", attempt=3),
        row(1, 3, None, trial=7, why="raised", attempt=2),
        row(1, 3, None, trial=7, why="memory", attempt=1),
    ):
        run.forget(tmp_path, goes_on)
        assert len(list(tmp_path.iterdir())) == 4
    run.forget(tmp_path, row(1, 3, None, trial=7, why="timeout"))
    assert {file.name for file in tmp_path.iterdir()} == {"17.safetensors", "70.part"}
    run.forget(tmp_path / "not there", row(1, 3, None, trial=7, why="timeout"))


def test_checkpoints_stay_where_a_trial_is_left_to_go_on_with(row, tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    ended, lost = row(1, 3), row(2, 3, None, why="lost", attempt=1)
    run.clear(checkpoints, [Study([ended]), Study([lost])])
    assert checkpoints.exists()
    run.clear(checkpoints, [Study([ended]), Study([row(2, 3)])])
    assert not checkpoints.exists()


def test_a_trial_that_no_machine_can_hold_is_unstaged_and_stopped_in_tune() -> None:
    told: list[tuple[str, str]] = []
    waits, starts, other = (
        SimpleNamespace(trial_id=name, status=status)
        for name, status in (("waits", "PENDING"), ("starts", "RUNNING"), ("other", "PENDING"))
    )
    controller = SimpleNamespace(
        _staged_trials={"waits": waits}.values(),
        get_trials=lambda: [waits, starts, other],
        _unstage_trial_with_resources=lambda trial: told.append(("unstaged", trial.trial_id)),
        stop_trial=lambda trial: told.append(("stopped", trial.trial_id)),
    )
    stranded = {"waits", "starts"}
    scheduler = ArrivalOrderScheduler(SimpleNamespace(stranded=lambda: stranded))
    assert scheduler.choose_trial_to_run(controller) is None
    assert told == [("unstaged", "waits"), ("stopped", "waits")]
    del controller._staged_trials
    scheduler.choose_trial_to_run(controller)
    assert told[2:] == [("stopped", "waits")]


def test_how_trials_ended_is_told_of_those_that_did(row) -> None:
    ledger = Ledger(None)
    ledger.start(row(1, 3, None, state="running", why=None))
    assert run._failures(ledger) == "no trial"
    ledger.start(row(2, 3, None, why="timeout", detail="it trained for long"))
    assert run._failures(ledger) == "linear: timeout: it trained for long"
