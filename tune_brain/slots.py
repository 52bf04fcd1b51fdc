"""How many trials fit on the machines of a cluster, and the resources that each of them takes.

A trial takes one CPU: two one-thread trials side by side are faster than one two-thread trial.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import ray


@dataclass(frozen=True, kw_only=True)
class Slots:
    """How many trials run at a time, and the resources that each of them takes."""

    count: int
    """Trials at a time."""
    gpus: float
    """GPUs per trial: a fraction of one, or a whole number."""
    limit: int | None = None
    """Upper bound of the count; None: as many as there is room for."""
    largest: int = 1
    """How many slots the largest machine has."""

    def resources(self, room: int = 1) -> dict[str, float]:
        """The resources that a trial requests from Ray.

        Args:
            room: how many slots of one machine the trial takes.
        """
        # A trial computes on one GPU: it can use a larger share of it, but not a second one.
        gpus = self.gpus if self.gpus > 1 else min(1.0, self.gpus * room)
        return {"CPU": room} | ({"GPU": gpus} if gpus else {})

    def without_gpus(self) -> "Slots":
        """Slots for jobs that compute on CPUs only: as many as the CPUs have room for."""
        return replace(self, gpus=0).now() if self.gpus else self

    def unused(self) -> int:
        """How many machines have enough CPUs for a trial but too few GPUs."""
        enough_cpus = [node for node in machines() if node.get("CPU", 0) >= 1]
        return sum(not _room(node, self.gpus) for node in enough_cpus)

    def now(self) -> "Slots":
        """The slots recounted on the machines that are alive now; the count is 0 if there is none."""
        by_machine = [_room(node, self.gpus) for node in machines()]
        count = sum(by_machine)
        return replace(self, count=min(count, self.limit or count), largest=max(by_machine, default=0))


def machines() -> list[dict[str, float]]:
    """The resources of each machine that is alive: CPU, GPU and others."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _room(machine: Mapping[str, float], gpus: float) -> int:
    """How many trials fit on a machine; a fraction of a GPU cannot be split over two."""
    by_cpu, on_machine = int(machine.get("CPU", 0)), machine.get("GPU", 0)
    if not gpus:
        return by_cpu
    by_gpu = int(on_machine) * int(1 / gpus + 1e-9) if gpus <= 1 else int(on_machine / gpus)
    return min(by_cpu, by_gpu)
