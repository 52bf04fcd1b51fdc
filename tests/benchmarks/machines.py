"""Chaos among machines, in network namespaces: unequal ones, one that is lost, one that joins."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "cluster"))
import faults
import nodes
import sleepers

from tune_brain.records import trials_of


def driver_on(cluster: nodes.Cluster, folder: Path, *options: object) -> Any:
    """A driver, on the head, of a search whose trials sleep."""
    return cluster.run(1, sys.executable, sleepers.__file__, folder, nodes.HEAD, *options)


def packing(chaos: Any) -> Iterator[dict[str, Any]]:
    """Machines of 1, 2 and 3 CPUs, trials of four lengths: the share of slot time in use."""
    with nodes.cluster(chaos.root / "packing") as cluster:
        for number in (1, 2, 3):
            cluster.start(number, number)
        cluster.wait_for(3)
        folder = chaos.root / "packed"
        # Of minutes: on two cores the start of six workers takes ten seconds.
        driver_on(cluster, folder, *((4, 0.4) if chaos.quick else (24, 1.6))).wait()
        slept = sleepers.slept(folder)
        most = sleepers.most_at_once(slept)
        right = most == {f"{nodes.NET}.{number}": number for number in (1, 2, 3)}
        told = {"lost": 0 if right else 1, "repeated": faults.repeated(folder), "disturbed": 0}
        yield {**told, "busy": sleepers.busy(slept, 6), "trials": len(slept)}


def come_and_go(chaos: Any) -> Iterator[dict[str, Any]]:
    """A machine is lost and another joins: seconds until a trial runs on it."""
    for time_ in range(1 if chaos.quick else 3):
        with nodes.cluster(chaos.root / f"machines-{time_}") as cluster:
            for number in (1, 2, 3):
                cluster.start(number, number)
            cluster.wait_for(3)
            folder = chaos.root / f"come-and-go-{time_}"
            running = driver_on(cluster, folder, 6, 0.5)
            while len(_on(folder, 3)) < 3:
                time.sleep(0.1)
            cluster.lose(3)
            cluster.start(4, 3)
            began = time.time()
            while not _on(folder, 4) and running.poll() is None:
                time.sleep(0.1)
            used = time.time() - began
            running.wait()
        rows = trials_of(folder)
        lost = sum(row.state != "completed" for row in rows)
        told = {"lost": lost, "repeated": faults.repeated(folder), "disturbed": 2}
        yield {**told, "seconds until used": used}


def _on(folder: Path, number: int) -> list[int]:
    rows = trials_of(folder)
    address = f"{nodes.NET}.{number}"
    return [row.trial for row in rows if row.node == address and row.state == "running"]
