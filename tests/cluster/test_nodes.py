"""Clusters of several unequal machines, in network namespaces: with and without GPUs, lost and joining."""

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nodes
import pytest
import sleepers

from tune_brain.records import trials_of

PATIENCE = 300.0
"""Seconds after which a test gives up; much more than its search takes."""
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
        pytest.skip("network namespaces need root and iproute2")


def driver(cluster: nodes.Cluster, folder: Path, *options: object):
    return cluster.run(1, sys.executable, sleepers.__file__, folder, nodes.HEAD, *options)


def test_trials_run_where_the_gpus_are_as_many_at_a_time_as_fit(
    cluster: nodes.Cluster, tmp_path: Path
) -> None:
    assert driver(cluster, tmp_path, 2, 0.02, 0.6).wait(PATIENCE) == 0
    # Each of the two GPUs has room for one trial that takes .6 of it.
    assert sleepers.most_at_once(sleepers.slept(tmp_path)) == {f"{nodes.NET}.3": 2}


def test_a_search_survives_the_loss_of_a_machine_and_uses_one_that_joins(
    cluster: nodes.Cluster, tmp_path: Path
) -> None:
    running = driver(cluster, tmp_path, 12, 0.5)
    deadline = time.monotonic() + PATIENCE
    lost, joined = f"{nodes.NET}.3", f"{nodes.NET}.4"

    def on(address: str) -> set[int]:
        assert running.poll() is None
        assert time.monotonic() < deadline
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
    running.wait(PATIENCE)
    log = (tmp_path / "run.log").read_text()
    assert "failed (lost: its machine cannot be reached)" in log
    assert "machines came or went" in log
