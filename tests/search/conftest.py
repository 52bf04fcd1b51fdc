import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from driven import Start, given
from noise import DEVELOPMENT

from tune_brain.config import RunConfig
from tune_brain.records import TrialRow
from tune_brain.search.ledger import Ledger
from tune_brain.search.searcher import RowSearcher
from tune_brain.search.trainable import TrialWorker
from tune_brain.slots import Slots
from tune_brain.space import Space

MakeRow = Callable[..., TrialRow]


@pytest.fixture
def row() -> MakeRow:
    """One trial's row; completed with a score unless told otherwise."""

    def make(configuration: int, epochs: int, score: float | None = 0.5, **fields: object) -> TrialRow:
        given = {
            "trial": configuration * 100 + epochs,
            "arch": "linear",
            "values": {"max_lr": 1e-3},
            "seed": 0,
            "state": "completed" if score is not None else "failed",
            "why": "finished" if score is not None else "diverged",
            "started": 0.0,
        }
        return TrialRow(configuration=configuration, epochs=epochs, score=score, **{**given, **fields})

    return make


@pytest.fixture
def space() -> Space:
    return Space.model_validate(
        {
            "arch": "linear",
            "fixed": {"weight_decay": 0.01},
            "tuned": {"max_lr": {"low": 1e-5, "high": 1e-1}, "grad_clip": {"low": 0.1, "high": 10.0}},
            "baseline": {"max_lr": 1e-3, "grad_clip": 1.0},
        }
    )


@pytest.fixture
def make(tmp_path: Path, space: Space):
    def make(**options: Any) -> RowSearcher:
        small = {"configs": 3, "ladder": (1, 2), "final_round": (0, 0), "image_size": 32}
        asked = {"out": tmp_path, "arch": ("linear", "cnn"), **small}
        config = RunConfig.model_validate(
            {**asked, **{name: value for name, value in options.items() if name not in ("clock", "slots")}}
        )
        spaces = {arch: space.model_copy(update={"arch": arch}) for arch in config.arch}
        return RowSearcher(
            config,
            spaces,
            Ledger(tmp_path),
            classes=4,
            precision=dict.fromkeys(config.arch, "fp32"),
            slots=options.get("slots", lambda: Slots(count=options.get("concurrency", 2), gpus=0, largest=2)),
            on_end=lambda _: None,
            clock=options.get("clock", time.monotonic),
        )

    return make


@pytest.fixture
def start(tmp_path: Path) -> Start:
    class Worker(TrialWorker):
        def setup(self, config: dict[str, Any]) -> None:
            super().setup(config, **given(DEVELOPMENT, tmp_path / "checkpoints"))

    return lambda config: Worker(config)
