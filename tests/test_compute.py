"""Without Ray: the signals of a session, the watch on the head node, slots, and jobs."""

import contextlib
import errno
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy  # noqa: F401 - brings the library whose threads are counted
import pytest
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
    monkeypatch.setattr(compute, "_start", lambda *_: up.wait())
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


def test_the_loss_of_the_head_node_is_reported_once_with_the_command_to_continue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three failures are too few, a success starts the count again, and then every connection fails."""
    closed, attempts = threading.Event(), list[tuple[str, int]]()
    reachable = [True, *[False] * (compute.MISSED - 1), True]

    def connect(address: tuple[str, int], timeout: float) -> contextlib.AbstractContextManager[None]:
        assert timeout == compute.GLANCE
        attempts.append(address)
        if len(attempts) == len(reachable) + compute.MISSED:
            assert capsys.readouterr().err == ""
        if len(attempts) == len(reachable) + 2 * compute.MISSED:
            closed.set()
        if len(attempts) <= len(reachable) and reachable[len(attempts) - 1]:
            return contextlib.nullcontext()
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(compute, "GLANCE", 0.001)
    monkeypatch.setattr(socket, "create_connection", connect)
    compute._watch("[::1]:6379", Path("out"), closed)
    assert set(attempts) == {("::1", 6379)}
    printed = capsys.readouterr().err
    assert printed.count("Lost contact with the cluster's head node") == 1
    assert "[::1]:6379: refused" in printed
    assert "tune-brain resume out" in printed


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
    monkeypatch.setattr(compute, "_start", lambda *_: None)
    alive(monkeypatch, {"CPU": 8.0, "GPU": 1.0})
    monkeypatch.setattr(compute.ray, "shutdown", lambda: None)
    with compute.session(RunConfig(out=tmp_path, gpus_per_trial=option)) as session:
        assert session.slots(before).gpus == takes


@pytest.mark.parametrize(("usable", "counted"), [({1, 3}, 2), (set(range(8)), None)])
def test_ray_on_this_machine_has_only_the_cpus_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, usable: set[int], counted: int | None
) -> None:
    """Where it may use all of them, Ray counts them itself, since a container's quota may allow fewer."""
    started = list[dict[str, object]]()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: usable)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(compute.ray, "init", lambda **options: started.append(options))
    for address in (None, "192.0.2.1:6379"):
        compute._start(RunConfig(out=tmp_path, address=address), "scratch")
    assert [options.get("num_cpus") for options in started] == [counted, None]


def test_running_jobs_end_before_the_failure_of_one_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed(Exception):
        pass

    def get(reference: int) -> int:
        if reference == 1:
            raise Failed("CUDA out of memory")
        return reference

    monkeypatch.setattr(compute.ray.exceptions, "RayError", Failed)
    monkeypatch.setattr(compute.ray, "remote", lambda **_: lambda function: SimpleNamespace(remote=function))
    monkeypatch.setattr(compute.ray, "wait", lambda references, **_: (references[:1], references[1:]))
    monkeypatch.setattr(compute.ray, "get", get)
    done = list[int]()
    slots = Slots(count=3, gpus=0)
    with pytest.raises(ClusterError, match=r"(?s)CUDA out of memory.*--concurrency"):
        done.extend(index for index, _ in compute.each(lambda job: job, ((job,) for job in range(9)), slots))
    # Job 3 was submitted when job 0 had ended, before job 1 failed.
    assert done == [0, 2, 3]


@pytest.mark.parametrize(("slots", "most"), [(0, 1), (1, 1), (3, 3)])
def test_one_job_is_submitted_even_if_there_is_no_machine(
    monkeypatch: pytest.MonkeyPatch, slots: int, most: int
) -> None:
    running = [0]

    def wait(references: list[int], **_: object) -> tuple[list[int], list[int]]:
        running.append(len(references))
        return references[:1], references[1:]

    monkeypatch.setattr(compute.ray, "remote", lambda **_: lambda function: SimpleNamespace(remote=function))
    monkeypatch.setattr(compute.ray, "wait", wait)
    monkeypatch.setattr(compute.ray, "get", lambda reference: reference)
    done = dict(compute.each(lambda job: job * 10, ((job,) for job in range(5)), Slots(count=slots, gpus=0)))
    assert done == {index: 10 * index for index in range(5)}
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
