"""What `search.run.search` hands to its workers and to Ray Tune, without Ray."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from noise import DEVELOPMENT

from tune_brain import __version__, cluster, slots
from tune_brain.config import RunConfig
from tune_brain.files import write_json
from tune_brain.progress import Progress
from tune_brain.records import TrialRow, append
from tune_brain.search import run
from tune_brain.slots import Slots
from tune_brain.space import Space

MakeRow = Callable[..., TrialRow]


def test_workers_get_their_disk_budget_and_the_identity_of_the_run_but_no_cloud_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: Space, row: MakeRow
) -> None:
    keywords: dict[str, Any] = {}
    environment: dict[str, str] = {}

    def with_parameters(trainable: type, **given: Any) -> type:
        keywords.update(given)
        return trainable

    def fit(worker: type, *_: object) -> None:
        assert worker is run.TrialWorker
        environment.update(os.environ)

    monkeypatch.setattr(run.tune, "with_parameters", with_parameters)
    monkeypatch.setattr(run.tune, "with_resources", lambda trainable, _: trainable)
    monkeypatch.setattr(run, "_fit", fit)
    monkeypatch.setattr(slots, "machines", lambda: [{"CPU": 1.0}])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "nowhere-1")
    write_json(tmp_path / "record.json", {"data": {"cut_digest": "c1"}, "weights": "mine.pth"})
    # A full-length trial that completed, without which the search would end with an error.
    append(tmp_path / "trials.jsonl", row(1, 2))
    config = RunConfig(out=tmp_path, arch=("linear",), ladder=(1, 2), disk_budget=123)  # type: ignore[arg-type]
    weights = {"fc.bias": object()}
    run.search(
        config,
        {"linear": space},
        DEVELOPMENT,
        weights,
        {"linear": "fp32"},
        Slots(count=1, gpus=0),
        Progress(),
    )
    assert keywords == {
        "development": DEVELOPMENT,
        "weights": weights,
        "checkpoints": tmp_path / "checkpoints",
        "disk_budget": 123,
        "made_with": f"c1 | mine.pth | {__version__}",
        "versions_of_driver": cluster.versions(),
        "gpus": 0.0,
    }
    assert type(keywords["disk_budget"]) is int
    assert "AWS_SECRET_ACCESS_KEY" not in environment
    assert environment["AWS_REGION"] == "nowhere-1"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "secret"
