"""Memory that really runs out: Ray kills a worker, or its object store has no room for the images."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import faults
import pytest
import ray
import sleepers

from tune_brain import compute
from tune_brain.errors import ClusterError
from tune_brain.records import trials_of
from tune_brain.search import run
from tune_brain.stages.search import search

pytestmark = pytest.mark.slow

STORE = 80_000_000
"""Bytes of the object store; Ray allows no fewer than 75 MiB."""
IMAGES = 100_000
"""So many that they take 128 MB with their thumbnails."""


@pytest.fixture
def watched_memory() -> Iterator[None]:
    try:
        with faults.watched_memory():
            yield
    except MemoryError:
        pytest.skip("needs more free memory")


@pytest.mark.usefixtures("watched_memory")
def test_a_trial_that_ray_kills_for_its_memory_is_retried_with_more_and_then_fails(
    monkeypatch: pytest.MonkeyPatch, phantoms: Path, tmp_path: Path
) -> None:
    ray.cloudpickle.register_pickle_by_value(faults)
    monkeypatch.setattr(run, "TrialWorker", faults.misbehaving(faults.hoards))
    search(faults.asked(phantoms, tmp_path, 1, 1, ladder=(1,)))
    rows = trials_of(tmp_path)
    # The other trials may fail too, since other programs on the machine use memory as well.
    assert (rows[1].state, rows[1].why, rows[1].attempt) == ("failed", "memory", 2)
    assert "running low on memory" in rows[1].detail
    assert len(rows) == 4


def search_with_small_store(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(ray, "init", partial(ray.init, object_store_memory=STORE))
    ray.cloudpickle.register_pickle_by_value(sleepers)
    config = sleepers.asked(folder, configs=1, arch=("linear",), concurrency=1)
    with compute.session(config) as session:
        sleepers.search(config, session.slots(), seconds=0.01, images=IMAGES)


def test_images_that_do_not_fit_into_the_object_store_are_spilled_to_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    search_with_small_store(monkeypatch, tmp_path)
    assert {row.state for row in trials_of(tmp_path)} == {"completed"}


def test_images_that_fit_neither_into_the_object_store_nor_on_the_disk_are_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_local_fs_capacity_threshold", "0.0001")
    with pytest.raises(ClusterError, match="object store") as raised:
        search_with_small_store(monkeypatch, tmp_path)
    assert "--image-size" in str(raised.value)
