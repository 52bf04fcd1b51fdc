"""The choice between fp32 and bf16, with a stopwatch in place of the measurement."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tune_brain import compute
from tune_brain.config import Precision, RunConfig
from tune_brain.slots import Slots
from tune_brain.stages.search import _precision
from tune_brain.train import timing
from tune_brain.train.precision import faster_precision, slow_on_this_cpu

CPU = "cpu"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(timing, "multiplies_faster_in_bf16", lambda: True)
    return tmp_path / "cache" / "precision.json"


class Stopwatch:
    """Replaces the measurement by given seconds and counts its calls."""

    def __init__(self, fp32: float, bf16: float) -> None:
        self.seconds: dict[Precision, float] = {"fp32": fp32, "bf16": bf16}
        self.calls = 0

    def __call__(self, *_: object) -> dict[Precision, float]:
        self.calls += 1
        return self.seconds


@pytest.mark.parametrize(("fp32", "bf16", "expected"), [(2, 1, "bf16"), (1, 1, "fp32"), (1, 2, "fp32")])
def test_the_faster_precision_is_chosen_and_ties_go_to_fp32(
    cache: Path, monkeypatch: pytest.MonkeyPatch, fp32: float, bf16: float, expected: str
) -> None:
    monkeypatch.setattr(timing, "step_seconds", Stopwatch(fp32, bf16))
    assert faster_precision("cnn", 16, 3, CPU) == expected
    assert cache.exists()


def test_no_step_is_measured_on_a_processor_that_multiplies_more_slowly_in_bf16(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopwatch = Stopwatch(2, 1)
    monkeypatch.setattr(timing, "step_seconds", stopwatch)
    monkeypatch.setattr(timing, "multiplies_faster_in_bf16", lambda: False)
    assert faster_precision("cnn", 16, 3, CPU) == "fp32"
    assert stopwatch.calls == 0
    assert cache.exists()


def test_a_processor_multiplies_faster_in_bf16_if_it_has_instructions_for_it() -> None:
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set[str]()
    if not flags & {"avx2", "avx512_bf16", "amx_bf16"}:
        pytest.skip("the flags of this processor are unknown")
    if "avx512f" in flags and not flags & {"avx512_bf16", "amx_bf16"}:
        pytest.skip("oneDNN converts to fp32 there, at about the same speed")
    threads = torch.get_num_threads()
    timing.multiplies_faster_in_bf16.cache_clear()
    assert timing.multiplies_faster_in_bf16() == bool(flags & {"avx512_bf16", "amx_bf16"})
    assert torch.get_num_threads() == threads


def test_a_measurement_is_made_once_for_each_architecture_and_size(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopwatch = Stopwatch(2, 1)
    monkeypatch.setattr(timing, "step_seconds", stopwatch)
    for arch, size in [("cnn", 16), ("cnn", 16), ("linear", 16), ("cnn", 32), ("cnn", 16)]:
        assert faster_precision(arch, size, 3, CPU) == "bf16"
    assert stopwatch.calls == 3
    cache.write_text("{torn")
    assert faster_precision("cnn", 16, 3, CPU) == "bf16"
    assert stopwatch.calls == 4


def test_measuring_leaves_threads_and_the_global_generator_alone(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "BUDGET", 0.0)
    state = torch.get_rng_state()
    torch.set_num_threads(2)
    torch.backends.cudnn.deterministic = False
    try:
        assert faster_precision("linear", 16, 3, CPU) in ("fp32", "bf16")
        # But with the algorithms of cuDNN that a trial uses.
        assert torch.backends.cudnn.deterministic
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert cache.exists()


def test_the_cpu_is_measured_if_torch_does_not_see_the_gpus_of_ray(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(
        timing, "step_seconds", lambda *arguments: kinds.append(arguments[3]) or {"fp32": 1, "bf16": 2}
    )
    assert faster_precision("cnn", 16, 3, "cuda") == "fp32"
    assert kinds == [CPU]
    assert cache.exists()


def test_a_gpu_without_memory_to_measure_trains_in_bf16_and_nothing_is_cached(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a small one")
    monkeypatch.setattr(timing, "step_seconds", full)
    assert faster_precision("cnn", 16, 3, "cuda") == "bf16"
    assert not cache.exists()


@pytest.mark.parametrize(
    ("address", "gpus", "kind"), [("192.0.2.1:6379", 0.5, "cuda"), (None, 0.5, "cuda"), ("auto", 0.0, CPU)]
)
def test_the_measurement_runs_on_a_machine_that_trains(
    monkeypatch: pytest.MonkeyPatch, address: str | None, gpus: float, kind: str
) -> None:
    slots = Slots(count=4, gpus=gpus)

    def each(function: object, jobs: list[tuple[object, ...]], within: Slots) -> Iterator[object]:
        assert (function, within) == (faster_precision, replace(slots, limit=1))
        assert jobs == [("linear", 32, 2, kind), ("cnn", 32, 2, kind)]
        # Not what this machine would measure.
        return iter(enumerate(["bf16", "fp32"]))

    monkeypatch.setattr(compute, "each", each)
    config = RunConfig(out=Path("unused"), arch=("linear", "cnn"), image_size=32, address=address)
    prepared: Any = SimpleNamespace(classes=("a", "b"))
    assert _precision(config, config.arch, prepared, slots) == {"linear": "bf16", "cnn": "fp32"}


def test_bf16_is_not_measured_at_sizes_where_its_gradients_are_wrong(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "step_seconds", Stopwatch(2, 1))
    assert faster_precision("resnet18", 16, 3, CPU) == "fp32"
    assert faster_precision("resnet18", 17, 3, CPU) == "bf16"
    assert cache.exists()


def test_an_architecture_that_trains_in_bf16_on_a_cpu_without_instructions_for_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    precisions: dict[str, Precision] = {"linear": "fp32", "cnn": "bf16", "resnet18": "bf16"}
    monkeypatch.setattr(timing, "multiplies_faster_in_bf16", lambda: True)
    assert slow_on_this_cpu(precisions) is None
    monkeypatch.setattr(timing, "multiplies_faster_in_bf16", lambda: False)
    assert str(slow_on_this_cpu(precisions)).startswith("cnn, resnet18 in bf16")
    assert slow_on_this_cpu({"linear": "fp32"}) is None
