"""Clusters of several machines, in network namespaces: unequal, with and without GPUs, coming and going."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nodes
import pytest
import sleepers

from tune_brain.records import trials_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nodes.Cluster]:
    """Machines of 1, 2 and 3 CPUs, the last with two GPUs."""
    try:
        with nodes.cluster(tmp_path_factory.mktemp("machines")) as started:
            for number, cpus, gpus in ((1, 1, 0), (2, 2, 0), (3, 3, 2)):
                started.start(number, cpus, gpus)
            started.wait_for(3)
            yield started
    except nodes.NoNamespaces:
        pytest.skip("network namespaces want root and iproute2")


def driver(cluster: nodes.Cluster, folder: Path, *options: object):
    return cluster.run(1, sys.executable, sleepers.__file__, folder, nodes.HEAD, *options)


def test_trials_go_where_the_gpus_are_as_many_as_their_shares_allow(
    cluster: nodes.Cluster, tmp_path: Path
) -> None:
    assert driver(cluster, tmp_path, 2, 0.02, 0.6).wait() == 0
    # Two GPUs hold one share of .6 each.
    assert sleepers.most_at_once(sleepers.slept(tmp_path)) == {f"{nodes.NET}.3": 2}


def test_a_machine_is_lost_and_another_joins_in_the_middle_of_a_search(
    cluster: nodes.Cluster, tmp_path: Path
) -> None:
    running = driver(cluster, tmp_path, 12, 0.5)
    lost, joined = f"{nodes.NET}.3", f"{nodes.NET}.4"

    def on(address: str) -> set[int]:
        assert running.poll() is None
        rows = trials_of(tmp_path)
        return {row.trial for row in rows if row.node == address and row.state == "running"}

    def still_there(trials: set[int]) -> bool:
        rows = trials_of(tmp_path)
        return any(row.trial in trials and row.node in (lost, "") for row in rows)

    while len(there := on(lost)) < 2:
        time.sleep(0.1)
    cluster.lose(3)
    cluster.start(4, 3)
    while not on(joined) or still_there(there):
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    running.wait()
    log = (tmp_path / "run.log").read_text()
    assert "failed (lost: its machine cannot be reached)" in log
    assert "machines came or went" in log
