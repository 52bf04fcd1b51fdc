"""Fixtures of tests that disturb searches: Ray, and a search that nothing disturbed."""

from collections.abc import Iterator
from pathlib import Path

import faults
import pytest
import ray

from tune_brain import compute
from tune_brain.search import run
from tune_brain.stages.search import search


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Searches of this process use the same kind of workers as those of `faults.driver`."""
    monkeypatch.setattr(run, "TrialWorker", faults.Watched)
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(cache))


@pytest.fixture(scope="module")
def one_slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray on this machine, with one trial at a time."""
    ray.cloudpickle.register_pickle_by_value(faults)
    config = faults.asked(Path("unused"), tmp_path_factory.mktemp("unused"), 1)
    with compute.session(config) as session:
        session.slots()
        yield


@pytest.fixture
def undisturbed(one_slot: None, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    """The folder of a search that nothing disturbed, shared by all tests, which must not change it."""
    folder = tmp_path_factory.getbasetemp() / "undisturbed"
    if not folder.exists():
        # Renamed when it is complete: a search that fails leaves nothing for the next test.
        unfinished = tmp_path_factory.mktemp("undisturbed") / "run"
        search(faults.asked(phantoms, unfinished, 1, faults.FEW))
        unfinished.rename(folder)
    return folder
