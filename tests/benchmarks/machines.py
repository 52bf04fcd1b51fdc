"""Faults of machines, in network namespaces: unequal machines, one that is lost, one that joins."""

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
    """Start, on the head, the driver of a search whose trials sleep."""
    return cluster.run(1, sys.executable, sleepers.__file__, folder, nodes.HEAD, *options)


def packing(chaos: Any) -> Iterator[dict[str, Any]]:
    """Machines of 1, 2 and 3 CPUs with trials of four durations: the share of slot time in use."""
    with nodes.cluster(chaos.root / "packing") as cluster:
        for number in (1, 2, 3):
            cluster.start(number, number)
        cluster.wait_for(3)
        folder = chaos.root / "packed"
        # Trials add up to minutes, because six workers take ten seconds to start on two cores.
        driver_on(cluster, folder, *((4, 0.4) if chaos.quick else (24, 1.6))).wait()
        slept = sleepers.slept(folder)
        most = sleepers.most_at_once(slept)
        is_right = most == {f"{nodes.NET}.{number}": number for number in (1, 2, 3)}
        counts = {"lost": 0 if is_right else 1, "repeated": faults.repeated(folder), "disturbed": 0}
        yield {**counts, "busy": sleepers.busy(slept, 6), "trials": len(slept)}


def come_and_go(chaos: Any) -> Iterator[dict[str, Any]]:
    """A machine is lost and another joins: seconds until a trial runs on the new one."""
    for repeat in range(1 if chaos.quick else 3):
        with nodes.cluster(chaos.root / f"machines-{repeat}") as cluster:
            for number in (1, 2, 3):
                cluster.start(number, number)
            cluster.wait_for(3)
            folder = chaos.root / f"come-and-go-{repeat}"
            running = driver_on(cluster, folder, 6, 0.5)
            while len(_running_on(folder, 3)) < 3:
                time.sleep(0.1)
            cluster.lose(3)
            cluster.start(4, 3)
            joined = time.time()
            while not _running_on(folder, 4) and running.poll() is None:
                time.sleep(0.1)
            seconds = time.time() - joined
            running.wait()
        rows = trials_of(folder)
        lost = sum(row.state != "completed" for row in rows)
        counts = {"lost": lost, "repeated": faults.repeated(folder), "disturbed": 2}
        yield {**counts, "seconds until used": seconds}


def _running_on(folder: Path, number: int) -> list[int]:
    """The trials that run on a machine."""
    rows = trials_of(folder)
    address = f"{nodes.NET}.{number}"
    return [row.trial for row in rows if row.node == address and row.state == "running"]
