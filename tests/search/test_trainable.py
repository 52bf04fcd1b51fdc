"""The worker as Ray drives it, one result after another, without Ray around it."""

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from driven import Start, asked, given, results, rows
from noise import DEVELOPMENT

from tune_brain import cluster
from tune_brain.search import trainable
from tune_brain.search.trainable import TrialWorker


def test_a_worker_trains_on_one_thread_and_always_in_one_way_whatever_there_was_before(start: Start) -> None:
    torch.set_num_threads(2)
    try:
        torch.backends.cudnn.deterministic = False
        start(asked())
        assert torch.get_num_threads() == 1
        assert torch.backends.cudnn.deterministic
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("arch", "precision"), [("cnn", "fp32"), ("cnn", "bf16"), ("linear", "bf16"), ("resnet18", "fp32")]
)
def test_a_trial_gives_the_same_rows_in_a_fresh_and_in_a_used_worker(
    start: Start, arch: str, precision: str
) -> None:
    fresh = rows(start(asked(0, arch, precision=precision)))
    worker = start(asked(1, "linear", seed=5))
    rows(worker)
    for other, max_lr in (("fp32", 1e9), ("bf16", 1e-3)):
        worker.reset(asked(2, "cnn", seed=6, max_lr=max_lr, precision=other))
        rows(worker)
    worker.reset(asked(0, arch, precision=precision))
    assert rows(worker) == fresh


def test_ten_trials_in_one_worker_leave_no_more_than_the_first(start: Start) -> None:
    def tensors() -> int:
        gc.collect()
        return sum(type(thing) is torch.Tensor for thing in gc.get_objects())

    worker = start(asked())
    rows(worker)
    after_one = tensors()
    for number in range(1, 11):
        worker.reset(asked(number, seed=number))
        rows(worker)
    assert tensors() <= after_one


TRIALS = """
import json, sys
from pathlib import Path
sys.path.insert(0, HERE)
from driven import asked, given, rows
from test_trainable import memory
from noise import images
from tune_brain.data.arrays import Development
from tune_brain.search.trainable import TrialWorker

SIZE = 64
DEVELOPMENT = Development(classes=("a", "b"), train=images(256, SIZE), validation=images(32, SIZE))

class Worker(TrialWorker):
    def setup(self, config):
        super().setup(config, **given(DEVELOPMENT, Path(sys.argv[1])))

def large(number):
    arch, precision = [("cnn", "bf16"), ("linear", "fp32"), ("cnn", "fp32")][number % 3]
    told = asked(number, arch, seed=number, precision=precision)
    told["trial"] |= {"image_size": SIZE, "epochs": 2}
    told["trial"]["hyperparameters"]["batch_size"] = 32
    return told

worker, held = Worker(large(0)), []
rows(worker)
for number in range(1, 13):
    worker.reset(large(number))
    rows(worker)
    held.append(memory())
print(json.dumps(held))
"""


class _MallInfo(ctypes.Structure):
    """struct mallinfo2 of the GNU C library, see mallinfo(3); `fordblks` are the bytes in free blocks."""

    _fields_ = (
        ("before", ctypes.c_size_t * 8),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    )


def memory() -> int:
    """Private bytes of this process, less those that malloc keeps for the next trial.

    How many it keeps depends on how its blocks happen to lie: sometimes 29 MB more from some trial on.
    """
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    private = sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private"))
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _MallInfo
    return private - int(mallinfo().fordblks)


@pytest.mark.slow
def test_ten_more_trials_of_several_kinds_take_no_more_memory(tmp_path: Path) -> None:
    """What the process holds, whoever in it does."""
    program = TRIALS.replace("HERE", repr(str(Path(__file__).parent)))
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    held = json.loads(done.stdout)
    assert held[-1] <= held[2] + 4 * 2**20, held


@pytest.mark.parametrize(("step", "lengths"), [(0.0, [1, 1, 1]), (1e6, [3])])
def test_short_epochs_are_handed_over_together(
    start: Start, monkeypatch: pytest.MonkeyPatch, step: float, lengths: list[int]
) -> None:
    monkeypatch.setattr(trainable, "STEP", step)
    assert [len(result["rows"]) for result in results(start(asked()))] == lengths


def test_a_failure_ends_the_trial_and_not_the_worker(start: Start) -> None:
    worker = start(asked(max_lr=1e30))
    last = results(worker)[-1]
    assert (last["why"], last["done"]) == ("diverged", True)
    worker.reset({"number": 1, "trial": {**asked()["trial"], "arch": "vgg"}})
    last = results(worker)[-1]
    assert last["why"] == "raised"
    assert "vgg" in last["detail"]
    worker.reset(asked(2))
    assert results(worker)[-1]["why"] == "finished"


def test_a_worker_takes_up_the_trial_of_one_that_died(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trainable, "STEP", 0.0)
    whole = rows(start(asked()))
    dying = start(asked())
    dying._keeper._every = 0.0
    first = dying.train()["rows"]
    # The checkpoint is kept when the next epoch is asked for, and the worker dies in it.
    dying.train()
    dying._keeper.finish()
    assert list((tmp_path / "checkpoints").iterdir())
    taken_up = start(asked())
    after = results(taken_up)
    assert after[0]["rows"] == first
    assert [row["val_loss"] for result in after for row in result["rows"]] == [r["val_loss"] for r in whole]
    # Until the driver has heard of its end, which it has when it asks for another.
    assert list((tmp_path / "checkpoints").iterdir())
    taken_up.reset(asked(1))
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize(("epochs", "left"), [(2, 1), (3, 0)])
def test_a_worker_that_is_stopped_leaves_a_checkpoint_of_what_has_not_ended(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, epochs: int, left: int
) -> None:
    monkeypatch.setattr(trainable, "STEP", 0.0)
    worker = start(asked())
    worker._keeper._every = 0.0
    for _ in range(epochs):
        worker.train()
    worker._keeper.finish()
    worker.stop()
    assert len(list((tmp_path / "checkpoints").iterdir())) == left


def test_what_failed_leaves_no_checkpoint_to_the_worker_that_tries_it_again(
    start: Start, tmp_path: Path
) -> None:
    def fails(asked: dict[str, Any]) -> Iterator[dict[str, float]]:
        for row in trains(asked):
            worker._keeper.finish()
            if row["epoch"] == 3:
                raise MemoryError
            yield row

    worker = start(asked())
    worker._keeper._every, trains, worker._train = 0.0, worker._train, fails
    assert results(worker)[-1]["why"] == "memory"
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_machine_with_another_torch_or_tune_brain_starts_no_worker(tmp_path: Path) -> None:
    told = given(DEVELOPMENT, tmp_path) | {"versions_of_driver": "tune_brain 0.1 and torch 1.0"}
    worker = TrialWorker.__new__(TrialWorker)
    with pytest.raises(RuntimeError, match=r"\w has .*, the driver has tune_brain 0\.1 and torch 1\.0"):
        worker.setup(asked(), **told)


def test_builds_for_cpus_and_gpus_are_the_same_version(monkeypatch: pytest.MonkeyPatch) -> None:
    builds = iter(["2.60+cpu", "2.60+cu130"])
    monkeypatch.setattr(cluster.importlib.metadata, "version", lambda _: next(builds))
    assert cluster.versions() == cluster.versions()
