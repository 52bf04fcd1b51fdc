"""The worker with a GPU that is made up: none is needed."""

from collections.abc import Iterator

import pytest
import ray
import torch
from driven import Start, asked, results

from tune_brain.train import process


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A slot has half a GPU; the list holds the share at each check of it."""
    checked = list[float]()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: [0])
    monkeypatch.setattr(process, "check_gpu", checked.append)
    return checked


def test_a_worker_checks_its_gpu_before_each_trial(
    start: Start, gpu: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = start(asked())
    assert gpu == [0.5]
    worker.reset(asked(1))
    assert gpu == [0.5, 0.5]

    def fails(share: float) -> None:
        raise RuntimeError(f"others hold its GPU, also {share}")

    monkeypatch.setattr(process, "check_gpu", fails)
    for begins in (start, worker.reset):
        with pytest.raises(RuntimeError, match=r"also 0\.5"):
            begins(asked(2))


@pytest.mark.parametrize(("assigned", "device"), [([], "cpu"), ([0], "cuda")])
@pytest.mark.usefixtures("gpu")
def test_a_trial_trains_on_the_gpu_that_it_was_given_and_on_no_other(
    start: Start, monkeypatch: pytest.MonkeyPatch, assigned: list[int], device: str
) -> None:
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: assigned)
    assert start(asked())._device.type == device


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("CUDA error: an illegal memory access was encountered", None),
        ("CUDA error: out of memory", "memory"),
        ("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate", "memory"),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "memory"),
        ("GET was unable to find an engine to execute this computation", "memory"),
    ],
)
def test_an_error_on_a_gpu_ends_its_worker_unless_it_is_one_of_memory(
    start: Start, said: str, why: str | None
) -> None:
    def raises(_: object) -> Iterator[dict[str, float]]:
        yield {"epoch": 1}
        raise RuntimeError(said)

    worker = start(asked())
    worker._device, worker._train = torch.device("cuda"), raises
    if why is None:
        with pytest.raises(RuntimeError, match="illegal"):
            worker.step()
    else:
        assert worker.step()["why"] == why


def test_after_a_trial_a_gpu_has_its_memory_back(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: told.append(1))
    worker = start(asked())
    results(worker)
    assert not told
    worker.reset(asked(1))
    worker._device = torch.device("cuda")
    results(worker)
    assert told
