"""Several machines in one: network namespaces on a bridge, each with an address and Ray files of its own."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NET = "10.77.0"
HEAD = f"{NET}.1:6379"


class NoNamespaces(Exception):
    """Only root may make them, with iproute2."""


class Cluster:
    """A Ray cluster, its token asked for; machine 1 is the head and runs the driver.

    Args:
        folder: new, where each machine keeps what Ray writes.
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
        """Start a machine; GPUs are logical."""
        _ip(f"netns add tb{number}")
        _ip(f"link add tbv{number} type veth peer name eth0 netns tb{number}")
        _ip(f"link set tbv{number} master tbbr up")
        _ip(f"-n tb{number} addr add {NET}.{number}/24 dev eth0")
        for link in ("lo", "eth0"):
            _ip(f"-n tb{number} link set {link} up")
        _ip(f"-n tb{number} route add default dev eth0")
        (self._folder / str(number)).mkdir(parents=True)
        where = ["--head", "--port=6379"] if number == 1 else [f"--address={HEAD}"]
        own = [f"--node-ip-address={NET}.{number}", f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
        options = [*where, *own, "--include-dashboard=false"] if number == 1 else [*where, *own]
        ray = str(Path(sys.executable).with_name("ray"))
        self._nodes[number] = self.run(number, ray, "start", "--block", *options)

    def run(self, number: int, *command: object, **more: Any) -> subprocess.Popen[bytes]:
        """Start a command on a machine."""
        bind = f"mkdir -p /tmp/ray && mount --bind {self._folder / str(number)} /tmp/ray"
        inside = ["ip", "netns", "exec", f"tb{number}", "sh", "-c", f'{bind} && exec "$@"', "sh"]
        with (self._folder / f"{number}.log").open("ab") as log:
            given: dict[str, Any] = {"stdout": log, "stderr": log, "env": self._environment, **more}
            return subprocess.Popen([*inside, *map(str, command)], start_new_session=True, **given)

    def lose(self, number: int) -> None:
        """Pull a machine's plug."""
        self._nodes.pop(number)
        for process in _processes(number):
            os.kill(process, signal.SIGKILL)

    def alive(self) -> dict[str, dict[str, float]]:
        """The machines that Ray knows, with what they have, by address."""
        code = (
            f"import ray, json; ray.init(address='{HEAD}', log_to_driver=False, logging_level='ERROR'); "
            "print(json.dumps({n['NodeManagerAddress']: n['Resources'] for n in ray.nodes() if n['Alive']}))"
        )
        asking = self.run(1, sys.executable, "-c", code, stdout=subprocess.PIPE)
        told = asking.communicate()[0].decode().strip().splitlines()
        return json.loads(told[-1]) if told else {}

    def wait_for(self, machines: int, seconds: float = 60) -> None:
        """Wait until Ray knows so many machines."""
        end = time.monotonic() + seconds
        while len(self.alive()) != machines:
            if time.monotonic() > end:
                raise TimeoutError(f"{machines} machines did not come up: see {self._folder}")


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster without a machine yet; all that was started in it ends with the block.

    Raises:
        NoNamespaces: this user may not make any.
    """
    try:
        _sweep()
        _ip("link add tbbr type bridge")
        _ip("link set tbbr up")
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoNamespaces from error
    try:
        yield Cluster(folder)
    finally:
        _sweep()


def _sweep() -> None:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    for name in (line.split()[0] for line in listed.splitlines()):
        if name.startswith("tb"):
            for process in _processes(int(name[2:])):
                os.kill(process, signal.SIGKILL)
            _ip(f"netns delete {name}")
            # Without waiting for the last process to let go of it.
            link = ["ip", "link", "delete", f"tbv{name[2:]}"]
            subprocess.run(link, capture_output=True, check=False)
    subprocess.run(["ip", "link", "delete", "tbbr"], capture_output=True, check=False)


def _processes(number: int) -> list[int]:
    pids = ["ip", "netns", "pids", f"tb{number}"]
    listed = subprocess.run(pids, capture_output=True, text=True, check=True).stdout
    return [int(process) for process in listed.split()]


def _ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True)
