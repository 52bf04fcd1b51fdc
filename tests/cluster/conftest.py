"""What tests on disturbed searches share: images, Ray, and an undisturbed search."""

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
    """Searches of this process have the workers that those of `faults.driver` have."""
    monkeypatch.setattr(run, "TrialWorker", faults.Watched)
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(cache))


@pytest.fixture(scope="module")
def one_slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray on this machine, a trial at a time."""
    ray.cloudpickle.register_pickle_by_value(faults)
    asked = faults.asked(Path("unused"), tmp_path_factory.mktemp("unused"), 1)
    with compute.session(asked) as session:
        session.slots()
        yield


@pytest.fixture
def undisturbed(one_slot: None, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    """The folder of a search that nothing disturbed."""
    folder = tmp_path_factory.getbasetemp() / "undisturbed"
    if not folder.exists():
        search(faults.asked(phantoms, folder, 1, faults.FEW))
    return folder
