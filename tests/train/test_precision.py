from pathlib import Path

import pytest
import torch

from tune_brain.config import Precision
from tune_brain.train import timing
from tune_brain.train.precision import choose

CPU = "cpu"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "precision.json"


class Stopwatch:
    """Stands in for the measurement: what it is told to say, and how often it was asked."""

    def __init__(self, fp32: float, bf16: float) -> None:
        self.seconds: dict[Precision, float] = {"fp32": fp32, "bf16": bf16}
        self.asked = 0

    def __call__(self, *_: object) -> dict[Precision, float]:
        self.asked += 1
        return self.seconds


@pytest.mark.parametrize(("fp32", "bf16", "expected"), [(2, 1, "bf16"), (1, 1, "fp32"), (1, 2, "fp32")])
def test_the_faster_wins_and_ties_go_to_fp32(
    cache: Path, monkeypatch: pytest.MonkeyPatch, fp32: float, bf16: float, expected: str
) -> None:
    monkeypatch.setattr(timing, "step_seconds", Stopwatch(fp32, bf16))
    assert choose("cnn", 16, 3, CPU) == expected
    assert cache.exists()


def test_a_measurement_is_made_once_for_each_architecture_and_size(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopwatch = Stopwatch(2, 1)
    monkeypatch.setattr(timing, "step_seconds", stopwatch)
    for arch, size in [("cnn", 16), ("cnn", 16), ("linear", 16), ("cnn", 32), ("cnn", 16)]:
        assert choose(arch, size, 3, CPU) == "bf16"
    assert stopwatch.asked == 3
    cache.write_text("{torn")
    assert choose("cnn", 16, 3, CPU) == "bf16"
    assert stopwatch.asked == 4


def test_measuring_leaves_threads_and_the_global_generator_alone(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "BUDGET", 0.0)
    state = torch.get_rng_state()
    torch.set_num_threads(2)
    try:
        assert choose("linear", 16, 3, CPU) in ("fp32", "bf16")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert cache.exists()


def test_bf16_is_not_measured_where_its_gradients_are_wrong(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "step_seconds", Stopwatch(2, 1))
    assert choose("resnet18", 16, 3, CPU) == "fp32"
    assert choose("resnet18", 17, 3, CPU) == "bf16"
    assert cache.exists()
