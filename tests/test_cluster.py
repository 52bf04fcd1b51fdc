"""How Ray is started, and the watch on a cluster's head node, without Ray."""

import contextlib
import os
import socket
import threading
from pathlib import Path

import pytest

from tune_brain import cluster
from tune_brain.config import RunConfig
from tune_brain.errors import ClusterError


def test_the_loss_of_the_head_node_is_reported_once_with_the_command_to_continue(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three failures are too few, a success starts the count again, and then every connection fails."""
    closed, attempts = threading.Event(), list[tuple[str, int]]()
    reachable = [True, *[False] * (cluster.MISSED - 1), True]

    def connect(address: tuple[str, int], timeout: float) -> contextlib.AbstractContextManager[None]:
        assert timeout == cluster.GLANCE
        attempts.append(address)
        if len(attempts) == len(reachable) + cluster.MISSED:
            assert capsys.readouterr().err == ""
        if len(attempts) == len(reachable) + 2 * cluster.MISSED:
            closed.set()
        if len(attempts) <= len(reachable) and reachable[len(attempts) - 1]:
            return contextlib.nullcontext()
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(cluster, "GLANCE", 0.001)
    monkeypatch.setattr(socket, "create_connection", connect)
    cluster.watch("[::1]:6379", Path("out"), closed)
    assert set(attempts) == {("::1", 6379)}
    printed = capsys.readouterr().err
    assert printed.count("Lost contact with the cluster's head node") == 1
    assert "[::1]:6379: refused" in printed
    assert "tune-brain resume out" in printed


def told(option: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What Ray is told when it starts on this machine, and when it joins a cluster."""
    started = list[dict[str, object]]()
    monkeypatch.setattr(cluster.ray, "init", lambda **options: started.append(options))
    for address in (None, "192.0.2.1:6379"):
        cluster.start(RunConfig(out=folder, address=address), "scratch")
    return [options.get(option) for options in started]


@pytest.mark.parametrize(("usable", "counted"), [({1, 3}, 2), (set(range(8)), None)])
def test_ray_on_this_machine_has_only_the_cpus_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, usable: set[int], counted: int | None
) -> None:
    """Where it may use all of them, Ray counts them itself, since a container's quota may allow fewer."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: usable)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert told("num_cpus", tmp_path, monkeypatch) == [counted, None]


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("MIG-a1,MIG-a2,MIG-b1", 3), ("MIG-a1", 1), ("0,1", None), ("GPU-a", None), (None, None)],
)
def test_every_mig_instance_that_is_visible_counts_as_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, visible: str | None, gpus: int | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert told("num_gpus", tmp_path, monkeypatch) == [gpus, None]


@pytest.mark.parametrize(
    ("address", "environment"),
    [("ray://192.0.2.1:10001", "192.0.2.2:6379"), ("auto", "ray://192.0.2.1:10001")],
)
def test_ray_client_is_refused_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, environment: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", environment)
    with pytest.raises(ClusterError, match=r"(?s)ray://192\.0\.2\.1:10001.*ray job submit"):
        cluster.start(RunConfig(out=tmp_path, address=address), "scratch")


def test_an_address_that_is_given_counts_more_than_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = list[object]()
    monkeypatch.setenv("RAY_ADDRESS", "ray://192.0.2.1:10001")
    monkeypatch.setattr(cluster.ray, "init", lambda **options: started.append(options["address"]))
    for address in (None, "192.0.2.2:6379"):
        cluster.start(RunConfig(out=tmp_path, address=address), "scratch")
    assert started == ["local", "192.0.2.2:6379"]
