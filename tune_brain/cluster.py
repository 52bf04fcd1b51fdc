"""Ray: start it on this machine or join a cluster, watch its head node, compare versions of its machines."""

import importlib.metadata
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import ray

from tune_brain import __version__
from tune_brain.config import RunConfig
from tune_brain.errors import ClusterError
from tune_brain.text import quoted

ENVIRONMENT = {
    "RAY_prestart_worker_first_driver": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""What Ray reads from the environment when it starts.

Trials must not change the working directory, which would break relative paths. Prestarted workers cost each
core a second and are never used, since Tune's workers need their own environment. The last one prevents usage
statistics.
"""
GLANCE, MISSED = 5.0, 4
"""Seconds between two connections to a cluster's head node, and how many of them must fail in a row before
the user is warned. Ray itself gives up after 60 seconds."""


def watch(head: str, run: Path, closed: threading.Event) -> None:
    """Print how to continue when the cluster's head node is lost: Ray then ends this process without a word.

    Args:
        head: host and port of the head node.
        run: the run's folder.
        closed: set when the session ends.
    """
    host, _, port = head.rpartition(":")
    missed = 0
    while not closed.wait(GLANCE):
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=GLANCE):
                missed = 0
        except OSError as error:
            missed += 1
            if missed == MISSED:
                lost = ClusterError(
                    "Lost contact with the cluster's head node; Ray will end this command",
                    found=f"{head}: {error}",
                    remedy="Finished work is kept. When the head node is back, repeat the command;\n"
                    f"continue a search with: tune-brain resume {quoted(run)}",
                )
                print(f"tune-brain: {lost}", file=sys.stderr, flush=True)


def start(config: RunConfig, scratch: str) -> None:
    """Start Ray on this machine, or join the cluster at `config.address`.

    Args:
        config: the run.
        scratch: path of a temporary folder for Ray's files, if it starts on this machine.

    Raises:
        ClusterError: Ray does not start, or the cluster cannot be reached or joined.
    """
    address = os.environ.get("RAY_ADDRESS", "auto") if config.address == "auto" else config.address
    if address and address.startswith("ray://"):
        raise ClusterError(
            "A search cannot run through Ray Client, where Tune and its searcher would run on the cluster",
            found=address,
            remedy="Call the command on a machine of the cluster, with --address HOST:6379, or through\n"
            "ray job submit.",
        )
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    # Ray counts the machine's CPUs, but taskset, a cpuset or Slurm may allow this process only some of them.
    usable = len(os.sched_getaffinity(0))
    local = {**quiet, "num_cpus": usable} if usable < (os.cpu_count() or usable) else {**quiet}
    # Ray counts GPUs, and would use no more MIG instances than those, though a GPU has several.
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES", "")).startswith("MIG-"):
        local["num_gpus"] = visible.count(",") + 1
    try:
        if config.address:
            ray.init(address=config.address, **quiet)
        else:
            ray.init(address="local", include_dashboard=False, _temp_dir=scratch, **local)
    except Exception as error:  # Ray raises plain Exception if a node does not start in time
        raise ClusterError(
            "Cannot reach the Ray cluster" if config.address else "Cannot start Ray on this machine",
            found=f"{config.address}: {error}" if config.address else error,
            remedy="--address local uses this machine alone; `ray start --head` starts a cluster.\n"
            "A cluster with a token needs RAY_AUTH_MODE=token here, and the token in ~/.ray/auth_token."
            if config.address
            else "Free some space in the temporary folder (or set TMPDIR to another) and in /dev/shm, and\n"
            "repeat the command; --address joins a running cluster.",
        ) from None


def versions() -> str:
    """The versions of tune_brain and torch, on which results depend, so that all machines need the same."""
    # Builds for CPUs and for CUDA differ in what follows the plus sign.
    torch = importlib.metadata.version("torch").partition("+")[0]
    return f"tune_brain {__version__} and torch {torch}"


def check_versions(of_driver: str) -> None:
    """Check that a machine has the driver's `versions`; Ray compares only Python's and its own.

    Args:
        of_driver: `versions` there.

    Raises:
        RuntimeError: it has others.
    """
    if (here := versions()) != of_driver:
        raise RuntimeError(f"{socket.gethostname()} has {here}, the driver has {of_driver}")
