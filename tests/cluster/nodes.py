"""Several machines on one: network namespaces on a bridge, each with its own address and Ray files.

Names hold the id of this process, so that two test runs on one machine do not disturb each other.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NET = "10.77.0"
HEAD = f"{NET}.1:6379"
BRIDGE = f"tb{os.getpid()}"
PATIENCE = 300.0
"""Seconds after which a machine or a query is given up; much more than either takes."""


class NoNamespaces(Exception):
    """Network namespaces cannot be created: only root can, with iproute2."""


class Cluster:
    """A Ray cluster with token authentication; machine 1 is the head and runs the driver.

    Args:
        folder: new folder for the files that Ray writes on each machine.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._nodes = folder, dict[int, subprocess.Popen[bytes]]()
        self._environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def start(self, number: int, cpus: int, gpus: int = 0) -> None:
        """Start a machine with these CPUs and logical GPUs."""
        namespace, link = _namespace(number), _link(number)
        _ip(f"netns add {namespace}")
        _ip(f"link add {link} type veth peer name eth0 netns {namespace}")
        _ip(f"link set {link} master {BRIDGE} up")
        _ip(f"-n {namespace} addr add {NET}.{number}/24 dev eth0")
        for device in ("lo", "eth0"):
            _ip(f"-n {namespace} link set {device} up")
        _ip(f"-n {namespace} route add default dev eth0")
        (self._folder / str(number)).mkdir(parents=True)
        role = (
            ["--head", "--port=6379", "--include-dashboard=false"] if number == 1 else [f"--address={HEAD}"]
        )
        options = [*role, f"--node-ip-address={NET}.{number}", f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
        ray = str(Path(sys.executable).with_name("ray"))
        self._nodes[number] = self.run(number, ray, "start", "--block", *options)

    def run(self, number: int, *command: object, **more: Any) -> subprocess.Popen[bytes]:
        """Start a command on a machine."""
        bind = f"mkdir -p /tmp/ray && mount --bind {self._folder / str(number)} /tmp/ray"
        inside = ["ip", "netns", "exec", _namespace(number), "sh", "-c", f'{bind} && exec "$@"', "sh"]
        with (self._folder / f"{number}.log").open("ab") as log:
            given: dict[str, Any] = {"stdout": log, "stderr": log, "env": self._environment, **more}
            return subprocess.Popen([*inside, *map(str, command)], start_new_session=True, **given)

    def lose(self, number: int) -> None:
        """Kill all processes of a machine."""
        self._nodes.pop(number)
        _kill_processes(_namespace(number))

    def alive(self) -> dict[str, dict[str, float]]:
        """The resources of the machines that are alive according to Ray, by address."""
        code = (
            f"import ray, json; ray.init(address='{HEAD}', log_to_driver=False, logging_level='ERROR'); "
            "print(json.dumps({n['NodeManagerAddress']: n['Resources'] for n in ray.nodes() if n['Alive']}))"
        )
        query = self.run(1, sys.executable, "-c", code, stdout=subprocess.PIPE)
        try:
            lines = query.communicate(timeout=PATIENCE)[0].decode().strip().splitlines()
        finally:
            query.kill()
        return json.loads(lines[-1]) if lines else {}

    def wait_for(self, machines: int) -> None:
        """Wait until this many machines are alive.

        Raises:
            TimeoutError: they are not after minutes.
        """
        deadline = time.monotonic() + PATIENCE
        while len(self.alive()) != machines:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{machines} machines did not come up: see {self._folder}")


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster that has no machine yet; at the end of the block, everything started in it is removed.

    Raises:
        NoNamespaces: this user cannot create any.
    """
    try:
        _ip(f"link add {BRIDGE} type bridge")
        _ip(f"link set {BRIDGE} up")
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoNamespaces from error
    try:
        yield Cluster(folder)
    finally:
        _remove_all()


def _namespace(number: int) -> str:
    return f"{BRIDGE}n{number}"


def _link(number: int) -> str:
    # Names of links have at most 15 characters.
    return f"{BRIDGE}v{number}"


def _remove_all() -> None:
    """Remove the namespaces of this process, all that runs in them, and the bridge."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    for name in (line.split()[0] for line in listed.splitlines()):
        if name.startswith(f"{BRIDGE}n"):
            _kill_processes(name)
            _ip(f"netns delete {name}")
            # The kernel would remove it only once the last process of the namespace has ended.
            _ip(f"link delete {_link(int(name.removeprefix(f'{BRIDGE}n')))}", check=False)
    _ip(f"link delete {BRIDGE}", check=False)


def _kill_processes(namespace: str) -> None:
    pids = ["ip", "netns", "pids", namespace]
    listed = subprocess.run(pids, capture_output=True, text=True, check=True).stdout
    for process in listed.split():
        with suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)


def _ip(arguments: str, *, check: bool = True) -> None:
    subprocess.run(["ip", *arguments.split()], check=check, capture_output=True)
