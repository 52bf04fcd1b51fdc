"""Runs without Ray: rows as the ladder asks for them, and a search that trains nothing else."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from trained import ASKED, train

from tune_brain import compute, runs
from tune_brain.config import RunConfig
from tune_brain.runs import Run
from tune_brain.slots import Slots
from tune_brain.space import default_folder, load
from tune_brain.stages import evaluate
from tune_brain.stages import search as stage


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Run]:
    """Make a run's folder that asks for little, or for what is given."""

    def made(**given: Any) -> Run:
        config = RunConfig.model_validate({**ASKED, "out": tmp_path / "run", **given})
        return runs.create(config, load(default_folder(), config.arch))

    return made


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Let stages search without Ray and without images; what they were given, and what they are to meet."""
    told = SimpleNamespace(sessions=[], gpus=[], slots=lambda: Slots(count=2, cpus=1, gpus=0), most=1000)
    prepared = SimpleNamespace(
        summary={"digest": "d1", "cut_digest": "c1"}, classes=("a", "b"), development=lambda: None
    )

    def session(config: RunConfig) -> Any:
        told.sessions.append(config)
        return nullcontext(SimpleNamespace(slots=lambda *gpus: told.gpus.append(gpus) or told.slots()))

    def searched(config: RunConfig, *_: Any) -> None:
        train(runs.open_run(config.out), told.most)
        if told.most < 1000:
            raise KeyboardInterrupt

    monkeypatch.setattr(compute, "session", session)
    for one in (stage, evaluate):
        monkeypatch.setattr(one, "images", lambda *_: prepared)
    monkeypatch.setattr(stage, "describe", lambda _: ())
    monkeypatch.setattr(stage, "run_search", searched)
    return told
