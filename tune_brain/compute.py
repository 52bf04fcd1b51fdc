"""Ray: start or join it, arrays into its store, a function over jobs."""

import contextlib
import itertools
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from threadpoolctl import threadpool_limits

from tune_brain.config import RunConfig
from tune_brain.errors import ClusterError, Interrupted
from tune_brain.slots import Slots, machines
from tune_brain.text import quoted

if TYPE_CHECKING:
    import torch

# Ray reads these when it starts. A trial that changes its working directory would break relative paths;
# workers that Ray starts ahead are never used, since those of Tune have an environment of their own, and cost
# each core a second; the other two are noise on a workstation.
_ENVIRONMENT = {
    "RAY_prestart_worker_first_driver": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}

GLANCE, MISSED = 5.0, 4
"""Seconds between two looks at a cluster's head; after so many in vain it is said. Ray gives up after 60."""


class Session:
    """Ray, on its way up in a thread of its own, so that imports and decoding need not wait for it."""

    def __init__(self, config: RunConfig, scratch: str) -> None:
        self._config, self._scratch = config, scratch
        self._error: ClusterError | None = None
        self._up, self._over = threading.Event(), threading.Event()
        # Ray forks, which ends OpenBLAS's threads: a product of thumbnails that they share at that moment
        # would wait for them for ever.
        self._products = threadpool_limits(1, "blas")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def slots(self, gpus: float | None = None) -> Slots:
        """Wait until Ray is up, and count the slots.

        Args:
            gpus: how many a trial takes where the configuration does not say; None: one if there are any.

        Raises:
            ClusterError: the cluster cannot be reached, or no machine has room for one trial.
        """
        self._wait()
        if self._error:
            raise self._error
        # Ray's core, coming up, takes SIGTERM for a crash.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        asked = self._config.gpus_per_trial
        return _slots(gpus if asked is None else asked, self._config.concurrency)

    def close(self) -> None:
        """Stop Ray, or leave the cluster."""
        self._wait()
        ray.shutdown()
        self._over.set()
        self._thread.join()

    def _wait(self) -> None:
        self._up.wait()
        self._products.restore_original_limits()

    def _run(self) -> None:
        try:
            _start(self._config, self._scratch)
        except ClusterError as error:
            self._error = error
        finally:
            self._up.set()
        if self._config.address and not self._error:
            _watch(ray.get_runtime_context().gcs_address, self._config.out, self._over)
        # Linux ends Ray's processes with the thread that started them.
        self._over.wait()


_open: list[Session] = []
"""The session of this process, or none: Ray is one for a process, too."""


@contextlib.contextmanager
def session(config: RunConfig) -> Iterator[Session]:
    """Start Ray on this machine, or join the cluster at `config.address`, for the length of a `with` block.

    Within another session it is that one, which lasts to the end of the outer block. SIGTERM, and SIGHUP of a
    terminal that is closed, are turned into Ctrl-C, so that all end alike. While Ray shuts down they are
    ignored, and after an interrupted session they stay so.

    Raises:
        Interrupted: Ctrl-C, SIGTERM or SIGHUP.
    """
    if _open:
        yield _open[-1]
        return
    os.environ.update(_ENVIRONMENT)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # What nohup started outlives its terminal.
    if before[signal.SIGHUP] != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        with _scratch() as scratch:
            opened = Session(config, scratch)
            _open.append(opened)
            try:
                yield opened
            finally:
                # Another Ctrl-C would leave Ray's processes behind, and the user without a word how to go on.
                for number in before:
                    signal.signal(number, signal.SIG_IGN)
                _open.clear()
                opened.close()
    except (KeyboardInterrupt, Interrupted) as end:
        # The command ends with it, and nothing disturbs that either: it says how to go on.
        before.clear()
        raise (end if isinstance(end, Interrupted) else Interrupted("Interrupted")) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """A short path for Ray, since Unix sockets allow 107 bytes; what Ray leaves behind goes with it."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="tb-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ClusterError(
            "Ray needs room in a temporary folder",
            found=error.strerror,
            remedy="Make room there, or set TMPDIR to another.",
        ) from None
    with folder as path:
        yield path


def _watch(head: str, run: Path, over: threading.Event) -> None:
    """Say how to go on when a cluster's head is gone: soon after, Ray ends this process with no such word."""
    host, _, port = head.rpartition(":")
    missed = 0
    while not over.wait(GLANCE):
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=GLANCE):
                missed = 0
        except OSError as error:
            missed += 1
            if missed == MISSED:
                gone = ClusterError(
                    "The head of the cluster must be reachable, without which Ray ends this command",
                    found=f"{head}: {error}",
                    remedy="What is finished is kept. When it is back, call the command again;\n"
                    f"a search goes on with: tune-brain resume {quoted(run)}",
                )
                print(f"tune-brain: {gone}", file=sys.stderr, flush=True)


def _start(config: RunConfig, scratch: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if config.address:
            ray.init(address=config.address, **quiet)
        else:
            ray.init(address="local", include_dashboard=False, _temp_dir=scratch, **quiet)
    except Exception as error:  # Ray raises plain Exception where a node does not start in time
        raise ClusterError(
            "Ray must be reachable",
            found=f"{config.address or 'this machine'}: {error}",
            remedy="--address local is this machine alone; `ray start --head` starts a cluster.\n"
            "A cluster with a token wants RAY_AUTH_MODE=token here, and the token in ~/.ray/auth_token."
            if config.address
            else "Make room in the temporary folder (or set TMPDIR to another) and in /dev/shm, and call it\n"
            "again; --address joins a cluster that runs.",
        ) from None


def _slots(gpus: float | None, limit: int | None) -> Slots:
    nodes = machines()
    if gpus is None:
        gpus = float(any(node.get("GPU", 0) > 0 for node in nodes))
    # One thread a trial: two one-thread trials side by side beat one two-thread trial.
    slots = Slots(count=0, cpus=1, gpus=gpus, limit=limit).now()
    if slots.count < 1:
        raise ClusterError(
            f"A trial needs 1 CPU and {gpus:g} GPUs on one machine",
            found="; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes),
            remedy="Lower --gpus-per-trial (0 trains on CPUs), or join a larger cluster with --address.",
        )
    return slots


@contextlib.contextmanager
def storing() -> Iterator[None]:
    """Say what to do where Ray's object store has no room for what the block places in it.

    Raises:
        ClusterError: it has none.
    """
    try:
        yield
    except (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError) as error:
        raise ClusterError(
            "The images must have room in Ray's object store, or on the disk of its temporary folder",
            found=str(error).partition("\n")[0],
            remedy="Make room in the temporary folder, or set TMPDIR to another; a new run may take a lower\n"
            "--image-size; on a cluster: ray start --object-store-memory BYTES.",
        ) from None


def put(value: Any) -> Any:
    """Place a value in Ray's object store, once for all workers, which read its arrays without a copy.

    Raises:
        ClusterError: there is no room for it.
    """
    with storing():
        return ray.put(value)


def device() -> "torch.device":
    """What a job or a trial computes on: a GPU if Ray gave it one, else the CPU, whatever else is there."""
    import torch

    given = ray.is_initialized() and ray.get_gpu_ids()
    return torch.device("cuda" if given and torch.cuda.is_available() else "cpu")


def each(
    function: Callable[..., Any], jobs: Iterable[tuple[Any, ...]], slots: Slots
) -> Iterator[tuple[int, Any]]:
    """Run a function over jobs, as many at a time as there are slots; yield (index, result) as each ends.

    A job is taken from `jobs` when a slot is free for it. References made by `put` among its arguments
    arrive as their values.

    Raises:
        ClusterError: a job raised; the message carries the job's own error. Those that were under way have
            ended before, and no other was begun.
    """
    remote = ray.remote(num_cpus=slots.cpus, num_gpus=slots.gpus)(function)
    waiting = enumerate(jobs)
    running: dict[Any, int] = {}
    failed: Exception | None = None
    while True:
        # Where no machine is left for the moment, one job waits for the next.
        room = 0 if failed else max(1, slots.count) - len(running)
        for index, job in itertools.islice(waiting, room):
            running[remote.remote(*job)] = index
        if not running:
            break
        done, _ = ray.wait(list(running), num_returns=1)
        index = running.pop(done[0])
        try:
            result = ray.get(done[0])
        except ray.exceptions.RayError as error:
            failed = failed or error
        else:
            yield index, result
    if failed:
        cause = getattr(failed, "cause", None) or failed
        raise ClusterError(
            "A job must end without an error",
            found=f"{type(cause).__name__}: {cause}",
            remedy="What ended is kept: call it again, or, for a search, tune-brain resume RUN. Where\n"
            "memory ended, with a smaller --concurrency or a larger --gpus-per-trial.",
        ) from failed
