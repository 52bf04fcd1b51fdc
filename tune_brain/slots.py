"""How many trials the machines of a cluster hold, and what each of them takes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import ray


@dataclass(frozen=True, kw_only=True)
class Slots:
    """How many trials run at a time, and what each of them takes."""

    count: int
    cpus: float
    gpus: float
    limit: int | None = None
    """The largest count asked for; None for all that there is room for."""
    largest: int = 1
    """How many of them the largest machine has."""

    def resources(self, room: int = 1) -> dict[str, float]:
        """What a trial asks of Ray that takes so many slots of one machine."""
        # A trial computes on one GPU, of which it may have a larger share; a second one is of no use to it.
        gpus = self.gpus if self.gpus > 1 else min(1.0, self.gpus * room)
        return {"CPU": self.cpus * room} | ({"GPU": gpus} if gpus else {})

    def without_gpus(self) -> "Slots":
        """For jobs that compute on CPUs: as many as these have room for, whatever GPUs there are."""
        return replace(self, gpus=0).now() if self.gpus else self

    def unused(self) -> int:
        """How many machines have CPUs for a trial and too few GPUs."""
        fit = [node for node in machines() if node.get("CPU", 0) >= self.cpus]
        return sum(not _room(node, self.cpus, self.gpus) for node in fit)

    def now(self) -> "Slots":
        """The same on the machines that there are now, of which there may be none."""
        rooms = [_room(node, self.cpus, self.gpus) for node in machines()]
        count = sum(rooms)
        return replace(self, count=min(count, self.limit or count), largest=max(rooms, default=0))


def machines() -> list[dict[str, float]]:
    """What each machine that lives has: CPU, GPU and other resources."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _room(machine: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many trials a machine holds; a share of a GPU cannot lie on two."""
    by_cpu, has = int(machine.get("CPU", 0) / cpus), machine.get("GPU", 0)
    if not gpus:
        return by_cpu
    return min(by_cpu, int(has) * int(1 / gpus + 1e-9) if gpus <= 1 else int(has / gpus))
