"""A session of Ray: its slots, arrays in its object store, and a function run over jobs."""

import contextlib
import itertools
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ray
from threadpoolctl import threadpool_limits

from tune_brain import cluster
from tune_brain.config import RunConfig
from tune_brain.errors import ClusterError, Interrupted
from tune_brain.slots import Slots, machines

if TYPE_CHECKING:
    import torch

RETRIES = 3
"""How often a job that lost its worker is started again."""


class Session:
    """Ray, started in a thread of its own so that imports and decoding need not wait for it.

    Args:
        config: says which cluster to join, or to start Ray on this machine.
        scratch: path of a temporary folder for Ray's files.
    """

    def __init__(self, config: RunConfig, scratch: str) -> None:
        self._config, self._scratch = config, scratch
        self._error: ClusterError | None = None
        self._up, self._closed = threading.Event(), threading.Event()
        # Ray forks, which ends OpenBLAS's threads: a matrix product that they share at that moment, such as
        # the comparison of thumbnails, would wait for them for ever.
        self._one_blas_thread = threadpool_limits(1, "blas")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def slots(self, gpus: float | None = None) -> Slots:
        """Wait until Ray is up, and count the slots.

        Args:
            gpus: GPUs per trial if the configuration does not say; None: one if there are any.

        Raises:
            ClusterError: the cluster cannot be reached, or no machine has room for one trial.
        """
        self._wait()
        if self._error:
            raise self._error
        # Ray installs a handler when it starts that treats SIGTERM as a crash.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        configured = self._config.gpus_per_trial
        return _count_slots(gpus if configured is None else configured, self._config.concurrency)

    def close(self) -> None:
        """Stop Ray, or leave the cluster."""
        self._wait()
        ray.shutdown()
        self._closed.set()
        self._thread.join()

    def _wait(self) -> None:
        self._up.wait()
        self._one_blas_thread.restore_original_limits()

    def _run(self) -> None:
        try:
            cluster.start(self._config, self._scratch)
        except ClusterError as error:
            self._error = error
        finally:
            self._up.set()
        if self._config.address and not self._error:
            cluster.watch(ray.get_runtime_context().gcs_address, self._config.out, self._closed)
        # Linux ends Ray's processes when the thread that started them ends.
        self._closed.wait()


_open: list[Session] = []
"""The session of this process, if any: a process can have only one, as it can have only one Ray."""


@contextlib.contextmanager
def session(config: RunConfig) -> Iterator[Session]:
    """Start Ray on this machine, or join the cluster at `config.address`, for the length of a `with` block.

    Inside another session, that one is reused; it lasts to the end of the outer block. SIGTERM, and SIGHUP
    from a closed terminal, act as Ctrl-C does. All three are ignored while Ray shuts down, and stay ignored
    after an interrupted session.

    Raises:
        Interrupted: Ctrl-C, SIGTERM or SIGHUP.
    """
    if _open:
        yield _open[-1]
        return
    os.environ.update(cluster.ENVIRONMENT)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A command started by nohup must survive its terminal.
    if before[signal.SIGHUP] != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        with _scratch() as scratch:
            opened = Session(config, scratch)
            _open.append(opened)
            try:
                yield opened
            finally:
                # A second Ctrl-C would leave Ray's processes behind, and hide how to continue.
                for number in before:
                    signal.signal(number, signal.SIG_IGN)
                _open.clear()
                opened.close()
    except (KeyboardInterrupt, Interrupted) as end:
        # The command is about to end with a message on how to continue, so signals stay ignored.
        before.clear()
        raise (end if isinstance(end, Interrupted) else Interrupted("Interrupted")) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """A temporary folder for Ray's files, with a short path because Unix sockets allow only 107 bytes."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="tb-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ClusterError(
            "Cannot create a temporary folder for Ray",
            found=error.strerror,
            remedy="Free some space there, or set TMPDIR to another folder.",
        ) from None
    with folder as path:
        yield path


def _count_slots(gpus: float | None, limit: int | None) -> Slots:
    nodes = machines()
    if gpus is None:
        gpus = float(any(node.get("GPU", 0) > 0 for node in nodes))
    slots = Slots(count=0, gpus=gpus, limit=limit).now()
    if slots.count < 1:
        raise ClusterError(
            f"No machine has room for one trial, which needs 1 CPU and {gpus:g} GPUs",
            found="; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes),
            remedy="Lower --gpus-per-trial (0 trains on CPUs), or join a larger cluster with --address.",
        )
    return slots


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """Report that Ray's object store has no room for what the block places in it, with a remedy.

    Raises:
        ClusterError: there is no room, neither in memory nor on disk.
    """
    try:
        yield
    except (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError) as error:
        raise ClusterError(
            "The images fit neither in Ray's object store nor on the disk of its temporary folder",
            found=str(error).partition("\n")[0],
            remedy="Free some space in the temporary folder, or set TMPDIR to another; a new run may use a\n"
            "lower --image-size; on a cluster: ray start --object-store-memory BYTES.",
        ) from None


def put(value: Any) -> Any:
    """Place a value in Ray's object store; workers read its arrays without copying them.

    Raises:
        ClusterError: there is no room for it.
    """
    with storing():
        return ray.put(value)


def device() -> "torch.device":
    """The device of a job or trial: a GPU if Ray assigned one to it, else the CPU even if there are GPUs."""
    import torch

    assigned = ray.is_initialized() and ray.get_gpu_ids()
    return torch.device("cuda" if assigned and torch.cuda.is_available() else "cpu")


def each(
    function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]], slots: Slots
) -> Iterator[tuple[int, Any]]:
    """Run a function over jobs, as many at a time as there are slots; yield (index, result) as each ends.

    Machines may come and go: slots are counted again for each job.

    Args:
        function: runs in a worker process.
        jobs: arguments of each job, taken when a slot is free; references made by `put` arrive as values.
        slots: how many jobs run at a time, and the resources of each.

    Raises:
        ClusterError: a job raised, or lost its worker each time; contains the error. No job starts after
            that, and running ones end first.
    """
    # Ray itself would start a job that the memory monitor kills again without end.
    remote = ray.remote(num_cpus=1, num_gpus=slots.gpus, max_retries=0)(function)
    waiting: Iterator[tuple[int, tuple[Any, ...], int]] = ((index, job, 0) for index, job in enumerate(jobs))
    running: dict[Any, tuple[int, tuple[Any, ...], int]] = {}
    failed: Exception | None = None
    while True:
        # If there is no machine at the moment, one job is submitted anyway and waits for one.
        room = 0 if failed else max(1, slots.now().count) - len(running)
        for index, job, retries in itertools.islice(waiting, max(0, room)):
            running[remote.remote(*job)] = index, job, retries
        if not running:
            break
        done, _ = ray.wait(list(running), num_returns=1)
        index, job, retries = running.pop(done[0])
        try:
            result = ray.get(done[0])
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.RayTaskError) or retries == RETRIES:
                failed = failed or error
            else:
                waiting = itertools.chain([(index, job, retries + 1)], waiting)
                if isinstance(error, ray.exceptions.OutOfMemoryError):
                    # Memory did not suffice for so many.
                    slots = replace(slots, limit=max(1, len(running)))
        else:
            yield index, result
    if failed:
        cause = getattr(failed, "cause", None) or failed
        raise ClusterError(
            "A Ray task failed",
            found=f"{type(cause).__name__}: {cause}",
            remedy="Finished work is kept: repeat the command, or continue a search with tune-brain resume\n"
            "RUN. If memory ran out, use a smaller --concurrency or a larger --gpus-per-trial.",
        ) from failed
