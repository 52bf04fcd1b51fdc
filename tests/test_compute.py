"""Without Ray: the signals of a session, slots, and jobs."""

import contextlib
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy  # noqa: F401 - brings the library whose threads are counted
import pytest
import ray
from threadpoolctl import threadpool_info, threadpool_limits

from tune_brain import compute
from tune_brain.config import RunConfig
from tune_brain.errors import ClusterError, Interrupted
from tune_brain.slots import Slots
from tune_brain.stages.common import resume_hint

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Replace `Session` by one without Ray; the functions added to this list are called while it closes."""
    done: list[Callable[[], None]] = []

    class Session:
        def __init__(self, _: RunConfig, scratch: str) -> None:
            assert Path(scratch).is_dir()
            self.scratch = Path(scratch)

        def close(self) -> None:
            for do in done:
                do()

    monkeypatch.setattr(compute, "Session", Session)
    return done


@pytest.fixture
def handlers() -> Iterator[None]:
    """Restore the signal handlers of the tests after a session has changed them."""
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize(
    ("inside", "message"),
    [(contextlib.nullcontext, "Interrupted"), (lambda: resume_hint("resume it"), "resume it")],
)
def test_sigterm_and_sighup_act_as_ctrl_c_and_later_signals_are_ignored(
    closing: list[Callable[[], None]],
    tmp_path: Path,
    number: int,
    inside: Callable[[], contextlib.AbstractContextManager[None]],
    message: str,
) -> None:
    closing += [lambda one=one: send(one) for one in ENDING]
    with (
        pytest.raises(Interrupted, match=message),
        compute.session(RunConfig(out=tmp_path)) as opened,
        inside(),
    ):
        send(number)
    assert not opened.scratch.exists()
    # Signals are still ignored while the command prints how to continue.
    for one in ENDING:
        send(one)


@pytest.mark.usefixtures("handlers")
def test_blas_uses_one_thread_while_ray_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """OpenBLAS ends its threads at a fork, and a matrix product that uses them would wait for ever."""

    def threads() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    up = threading.Event()
    monkeypatch.setattr(compute.cluster, "start", lambda *_: up.wait())
    monkeypatch.setattr(compute, "_count_slots", lambda *_: Slots(count=2, gpus=0))
    monkeypatch.setattr(compute.ray, "shutdown", lambda: None)
    before = threads()
    with threadpool_limits(2, "blas"), compute.session(RunConfig(out=tmp_path)) as session:
        assert threads() == {1}
        up.set()
        session.slots()
        assert threads() == {2}
    assert threads() == before


@pytest.mark.usefixtures("closing", "handlers")
def test_a_session_that_is_not_interrupted_restores_the_signal_handlers(tmp_path: Path) -> None:
    before = [signal.getsignal(one) for one in ENDING]
    with compute.session(RunConfig(out=tmp_path)):
        assert signal.getsignal(signal.SIGTERM) == signal.default_int_handler
    assert [signal.getsignal(one) for one in ENDING] == before


@pytest.mark.usefixtures("closing")
def test_a_command_started_by_nohup_survives_its_terminal(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with compute.session(RunConfig(out=tmp_path)):
            send(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def alive(monkeypatch: pytest.MonkeyPatch, *machines: dict[str, float]) -> None:
    nodes = [{"Alive": True, "Resources": one} for one in machines]
    monkeypatch.setattr(compute.ray, "nodes", lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 64.0}}])


def test_machines_with_too_few_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0}, {"CPU": 0.0}, {}]
    alive(monkeypatch, *machines)
    assert Slots(count=1, gpus=1).unused() == 1
    assert Slots(count=1, gpus=0.5).unused() == 1
    assert Slots(count=16, gpus=0).unused() == 0


def test_jobs_on_cpus_take_no_gpu_and_use_every_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive(monkeypatch, {"CPU": 8.0, "GPU": 1.0}, {"CPU": 4.0})
    found = Slots(count=1, gpus=1).without_gpus()
    assert (found.count, found.resources()) == (12, {"CPU": 1})
    assert Slots(count=1, gpus=1, limit=3).without_gpus().count == 3


@pytest.mark.parametrize(
    ("gpus", "room", "requested"),
    [(1, 1, 1), (1, 2, 1), (0.25, 2, 0.5), (0.75, 2, 1), (2, 2, 2), (0, 2, None)],
)
def test_more_room_is_a_larger_share_of_one_gpu_and_never_a_second(
    gpus: float, room: int, requested: float | None
) -> None:
    assert Slots(count=1, gpus=gpus).resources(room).get("GPU") == requested


@pytest.mark.parametrize(
    ("option", "before", "takes"), [(None, None, 1), (None, 0.0, 0), (None, 0.5, 0.5), (0.25, 1.0, 0.25)]
)
@pytest.mark.usefixtures("handlers")
def test_gpus_per_trial_come_from_the_option_then_the_record_then_the_machines(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    option: float | None,
    before: float | None,
    takes: float,
) -> None:
    monkeypatch.setattr(compute.cluster, "start", lambda *_: None)
    alive(monkeypatch, {"CPU": 8.0, "GPU": 1.0})
    monkeypatch.setattr(compute.ray, "shutdown", lambda: None)
    with compute.session(RunConfig(out=tmp_path, gpus_per_trial=option)) as session:
        assert session.slots(before).gpus == takes


class Raised(ray.exceptions.RayTaskError):
    """A job's own error."""

    def __init__(self) -> None:
        self.cause = MemoryError("CUDA out of memory")


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[Exception]]:
    """Replace Ray by jobs that run at once; the errors of a job are raised by its first attempts."""
    errors: dict[int, list[Exception]] = {}

    def get(job: int) -> int:
        if left := errors.get(job):
            raise left.pop(0)
        return job

    monkeypatch.setattr(compute.ray, "remote", lambda **_: lambda function: SimpleNamespace(remote=function))
    monkeypatch.setattr(compute.ray, "wait", lambda references, **_: (references[:1], references[1:]))
    monkeypatch.setattr(compute.ray, "get", get)
    return errors


def ended(slots: Slots, jobs: int, done: list[int]) -> None:
    """Add the jobs to a list as they end."""
    done.extend(index for index, _ in compute.each(lambda job: job, ((job,) for job in range(jobs)), slots))


def test_running_jobs_end_before_the_failure_of_one_is_raised(
    monkeypatch: pytest.MonkeyPatch, made_up: dict[int, list[Exception]]
) -> None:
    alive(monkeypatch, {"CPU": 3.0})
    made_up[1] = [Raised()]
    done = list[int]()
    with pytest.raises(ClusterError, match=r"(?s)CUDA out of memory.*--concurrency"):
        ended(Slots(count=3, gpus=0), 9, done)
    # Job 3 was submitted when job 0 had ended, before job 1 failed.
    assert done == [0, 2, 3]


def test_a_job_that_loses_its_worker_is_started_again_and_fails_in_the_end(
    monkeypatch: pytest.MonkeyPatch, made_up: dict[int, list[Exception]]
) -> None:
    alive(monkeypatch, {"CPU": 2.0})
    killed = ray.exceptions.OutOfMemoryError("the node was running low on memory")
    made_up[1] = [killed] * compute.RETRIES
    done = list[int]()
    ended(Slots(count=2, gpus=0), 4, done)
    assert sorted(done) == [0, 1, 2, 3]
    made_up[1] = [killed] * (compute.RETRIES + 1)
    with pytest.raises(ClusterError, match=r"(?s)running low on memory.*--concurrency"):
        ended(Slots(count=2, gpus=0), 4, done)
    assert made_up[1] == []


def test_a_job_killed_for_memory_waits_until_fewer_run(
    monkeypatch: pytest.MonkeyPatch, made_up: dict[int, list[Exception]]
) -> None:
    alive(monkeypatch, {"CPU": 4.0})
    made_up[3] = [ray.exceptions.OutOfMemoryError("the node was running low on memory")]
    running, wait = list[int](), compute.ray.wait

    def counted(references: list[int], **given: object) -> tuple[list[int], list[int]]:
        running.append(len(references))
        ended: tuple[list[int], list[int]] = wait(references, **given)
        return ended

    monkeypatch.setattr(compute.ray, "wait", counted)
    done = list[int]()
    ended(Slots(count=4, gpus=0), 9, done)
    assert sorted(done) == list(range(9))
    assert running[0] == 4
    # The first three jobs end before the fourth is killed.
    assert max(running[4:]) < 4


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(
    ("machines", "limit", "most"),
    [([0], None, 1), ([1], None, 1), ([3], None, 3), ([1, 3], None, 3), ([3, 1], None, 3), ([3], 2, 2)],
)
def test_as_many_jobs_run_as_the_machines_of_the_moment_hold_but_always_one(
    monkeypatch: pytest.MonkeyPatch, machines: list[int], limit: int | None, most: int
) -> None:
    """Each entry of `machines` is their number of CPUs when slots are counted, the last one from then on."""
    running = [0]

    def wait(references: list[int], **_: object) -> tuple[list[int], list[int]]:
        running.append(len(references))
        return references[:1], references[1:]

    def nodes() -> list[dict[str, object]]:
        return [{"Alive": True, "Resources": {"CPU": machines.pop(0) if machines[1:] else machines[0]}}]

    monkeypatch.setattr(compute.ray, "nodes", nodes)
    monkeypatch.setattr(compute.ray, "wait", wait)
    slots = Slots(count=1, gpus=0, limit=limit)
    done = dict(compute.each(lambda job: job, ((job,) for job in range(5)), slots))
    assert done == {index: index for index in range(5)}
    assert max(running) == most


@pytest.mark.parametrize("error", ["ObjectStoreFullError", "OutOfDiskError"])
def test_a_full_object_store_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    def full(_: object) -> None:
        raise getattr(compute.ray.exceptions, error)("no room for 128 MB\nmore of it")

    monkeypatch.setattr(compute.ray, "put", full)
    with pytest.raises(ClusterError, match=r"found: .*no room for 128 MB\.\n.*TMPDIR"):
        compute.put(b"images")


@pytest.mark.usefixtures("handlers")
def test_a_missing_temporary_folder_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def none(**_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(compute.tempfile, "TemporaryDirectory", none)
    with pytest.raises(ClusterError, match="No usable temporary"), compute.session(RunConfig(out=tmp_path)):
        pass
