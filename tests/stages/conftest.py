"""Fixtures for stages without Ray: a run, and a search that writes the ladder's rows without training."""

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
    """Create a run with a small search, or with the given fields of `RunConfig`."""

    def made(**given: Any) -> Run:
        config = RunConfig.model_validate({**ASKED, "out": tmp_path / "run", **given})
        return runs.create(config, load(default_folder(), config.arch))

    return made


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Let stages search without Ray and images.

    Returns:
        A namespace that records the configurations of opened `sessions` and the arguments of their `slots`
        (`gpus`), and that tests may change: `slots` returns the slots, and a search is interrupted when the
        run has `most` trials.
    """
    state = SimpleNamespace(sessions=[], gpus=[], slots=lambda: Slots(count=2, gpus=0), most=1000)
    summary = {
        "digest": "d1",
        "cut_digest": "c1",
        "classes": ["a", "b"],
        "counts": {"validation": {"a": 5, "b": 5}},
    }
    prepared = SimpleNamespace(summary=summary, classes=("a", "b"), development=lambda: None)

    def session(config: RunConfig) -> Any:
        state.sessions.append(config)
        return nullcontext(SimpleNamespace(slots=lambda *gpus: state.gpus.append(gpus) or state.slots()))

    def run_search(config: RunConfig, *_: Any) -> None:
        train(runs.open_run(config.out), state.most)
        if state.most < 1000:
            raise KeyboardInterrupt

    monkeypatch.setattr(compute, "session", session)
    for module in (stage, evaluate):
        monkeypatch.setattr(module, "images", lambda *_: prepared)
    monkeypatch.setattr(stage, "describe", lambda _: ())
    monkeypatch.setattr(stage, "run_search", run_search)
    return state
