"""Searches on real Ray in which trials go wrong."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from noise import images
from ray import tune

from tune_brain import compute
from tune_brain.config import RunConfig
from tune_brain.data.arrays import Development
from tune_brain.errors import ClusterError, SearchError
from tune_brain.progress import Progress
from tune_brain.records import TrialRow, trials_of
from tune_brain.search import run
from tune_brain.search.run import search
from tune_brain.slots import Slots
from tune_brain.space import Space
from tune_brain.train import process

pytestmark = pytest.mark.slow

SIZE = 16


@pytest.fixture(scope="module")
def slots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slots]:
    asked = RunConfig(out=tmp_path_factory.mktemp("unused"), concurrency=2)
    with compute.session(asked) as ray:
        yield ray.slots()


@pytest.fixture
def searched(slots: Slots, tmp_path: Path) -> Callable[..., list[TrialRow]]:
    def searched(*, high: float, size: int = SIZE, configs: int = 4) -> list[TrialRow]:
        config = RunConfig(out=tmp_path, arch=("linear",), configs=configs, ladder=(1, 2), image_size=SIZE)
        space = Space.model_validate(
            {
                "arch": "linear",
                "fixed": {"weight_decay": 0.0, "grad_clip": 1.0, "batch_size": 8},
                "tuned": {"max_lr": {"low": 1e-3, "high": high}},
                "baseline": {"max_lr": 1e-3},
            }
        )
        progress = Progress()
        progress.log_to(tmp_path / "run.log")
        search(
            config,
            {"linear": space},
            Development(classes=("a", "b"), train=images(24, size), validation=images(8, size)),
            None,
            {"linear": "fp32"},
            slots,
            progress,
        )
        return trials_of(tmp_path)

    return searched


def test_a_trial_that_diverges_fails_once_and_the_search_goes_on(
    searched: Callable[..., list[TrialRow]], tmp_path: Path
) -> None:
    rows = searched(high=1e36)
    assert {row.configuration for row in rows} == {0, 1, 2, 3, 4}
    diverged = [row for row in rows if row.state == "failed"]
    assert diverged
    assert {(row.why, row.attempt, row.score) for row in diverged} == {("diverged", 1, None)}
    assert all("epoch 1" in row.detail for row in diverged)
    assert next(row for row in rows if row.configuration == 0).state == "completed"
    assert "diverged" in (tmp_path / "run.log").read_text()


def test_a_trial_that_raises_is_tried_once_more_and_its_error_is_told(
    searched: Callable[..., list[TrialRow]], tmp_path: Path
) -> None:
    with pytest.raises(SearchError, match=r"linear: raised: RuntimeError: .*shapes"):
        searched(high=1e-2, size=SIZE * 2)
    rows = trials_of(tmp_path)
    assert len(rows) == 5
    assert {(row.state, row.why, row.attempt) for row in rows} == {("failed", "raised", 2)}


def test_an_error_that_a_gpu_does_not_recover_from_costs_a_process_and_no_trial(
    searched: Callable[..., list[TrialRow]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"

    class OnGpu(run.TrialWorker):  # type: ignore[misc]
        """The first is broken from its second trial on."""

        def setup(self, config: dict[str, Any], **given: Any) -> None:
            super().setup(config, **given)
            # In the worker's process.
            process.check_gpu = lambda share: None  # noqa: ARG005
            self._trains, self._device = self._train, torch.device("cuda")
            self._train = self._on_gpu
            self._trained = 0

        def _on_gpu(self, asked: dict[str, Any]) -> Iterator[dict[str, float]]:
            self._trained += 1
            if self._trained == 2 and not broken.exists():
                broken.write_text(str(os.getpid()))
            if broken.exists() and broken.read_text() == str(os.getpid()):
                raise RuntimeError("CUDA error: unspecified launch failure")
            yield from self._trains(asked)

    monkeypatch.setattr(run, "TrialWorker", OnGpu)
    rows = searched(high=1e-2)
    assert {row.state for row in rows} == {"completed"}
    assert [row.attempt for row in rows].count(2) == 1
    assert (
        "raised: RuntimeError: CUDA error: unspecified launch failure" in (tmp_path / "run.log").read_text()
    )


def test_a_search_whose_workers_cannot_live_says_so(
    searched: Callable[..., list[TrialRow]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doomed(tune.Trainable):
        def setup(self, *_: object, **__: object) -> None:
            os._exit(1)

    monkeypatch.setattr(run, "TrialWorker", Doomed)
    with pytest.raises(
        ClusterError, match=r"trials in a row were lost with their workers: its worker process has died"
    ) as told:
        searched(high=1e-2)
    assert f"tune-brain resume {tmp_path}" in str(told.value)


def test_every_worker_comes_up_though_trials_are_shorter_than_its_start(
    searched: Callable[..., list[TrialRow]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts, up = tmp_path / "starts", tmp_path / "up"

    class Slow(run.TrialWorker):  # type: ignore[misc]
        """The second comes up when the first has trained three trials, and not before."""

        def setup(self, config: dict[str, Any], **given: Any) -> None:
            with starts.open("a") as file:
                file.write(f"{os.getpid()}\n")
            super().setup(config, **given)
            if starts.read_text().split()[0] != str(os.getpid()):
                while self._trained() < 3:
                    time.sleep(0.01)
                if not up.exists():
                    up.write_text(starts.read_text())

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            others = set(starts.read_text().split()[1:]) - {str(os.getpid())}
            # Were the second stopped, a third would be started.
            while others and self._trained() >= 3 and not up.exists():
                time.sleep(0.01)
            return bool(super().reset_config(new_config))

        def _trained(self) -> int:
            return (tmp_path / "trials.jsonl").read_text().count('"state":"completed"')

    monkeypatch.setattr(run, "TrialWorker", Slow)
    rows = searched(high=1e-2, configs=12)
    # Later one may be ended and another started: Tune keeps one worker only of those that have no trial.
    assert len(up.read_text().split()) == 2
    assert {str(row.worker) for row in rows} >= set(up.read_text().split())
