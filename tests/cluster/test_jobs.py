"""Jobs whose worker process dies, on real Ray."""

import os
import signal
import sys
from pathlib import Path

import pytest
import ray

from tune_brain import compute
from tune_brain.errors import ClusterError
from tune_brain.slots import Slots

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_slot")]
SLOTS = Slots(count=1, gpus=0, limit=1)


def dies(folder: Path, times: int) -> int:
    """Kill the process, but only so many times; returns how often it was killed before."""
    before = len(list(folder.iterdir()))
    if before < times:
        (folder / str(before)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return before


@pytest.fixture(autouse=True)
def by_value() -> None:
    """Workers cannot import this module."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def test_a_job_whose_process_dies_is_started_again(tmp_path: Path) -> None:
    assert dict(compute.each(dies, [(tmp_path, compute.RETRIES)], SLOTS)) == {0: compute.RETRIES}


def test_a_job_whose_process_dies_each_time_fails_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"(?s)died unexpectedly.*--concurrency"):
        list(compute.each(dies, [(tmp_path, 100)], SLOTS))
    assert len(list(tmp_path.iterdir())) == 1 + compute.RETRIES
