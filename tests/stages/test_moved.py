"""A run that continues on another machine, in the precision with which it began."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tune_brain import compute
from tune_brain.errors import Diverged, Interrupted, SearchError
from tune_brain.files import read_json, write_json
from tune_brain.runs import Run
from tune_brain.slots import Slots
from tune_brain.stages import evaluate, train
from tune_brain.stages.resume import resume
from tune_brain.train import timing

SLOW = "this processor has no instructions for it"
IN_BF16 = Path(__file__).parents[2] / "results" / "reference" / "sartaj" / "winners" / "cnn.toml"


@pytest.fixture(autouse=True)
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that has no instructions for bf16."""
    monkeypatch.setattr(timing, "multiplies_faster_in_bf16", lambda: False)


@pytest.mark.parametrize(
    ("before", "gpus", "precision", "said"),
    [
        ({"gpus_per_trial": 1.0}, 0.0, "bf16", 1),
        ({"machine": {"processor": "another"}}, 0.0, "bf16", 1),
        ({}, 0.0, "bf16", 0),
        ({"gpus_per_trial": 1.0}, 1.0, "bf16", 0),
        ({"gpus_per_trial": 1.0}, 0.0, "fp32", 0),
    ],
)
def test_bf16_on_a_cpu_that_lacks_it_is_announced_to_a_search_that_has_moved(
    made: Callable[..., Run],
    no_ray: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
    before: dict[str, Any],
    gpus: float,
    precision: str,
    said: int,
) -> None:
    folder = made().folder
    resume(folder)
    record = read_json(folder / "record.json")
    record["precision"] = dict.fromkeys(record["precision"], precision)
    write_json(folder / "record.json", record | before)
    no_ray.slots = lambda: Slots(count=2, gpus=gpus)
    capsys.readouterr()
    resume(folder)
    assert capsys.readouterr().err.count(SLOW) == said


@pytest.mark.usefixtures("no_ray")
def test_it_is_announced_before_seed_runs(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    folder = made(precision="bf16").folder
    resume(folder)
    monkeypatch.setattr(compute, "put", interrupted)
    with pytest.raises(Interrupted):
        evaluate.evaluate(folder)
    assert SLOW in capsys.readouterr().err


def test_it_is_announced_before_a_winner_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverges(_: object) -> object:
        raise Diverged("loss nan")

    monkeypatch.setattr(train.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(train, "images", lambda *_: SimpleNamespace(development=lambda: None))
    monkeypatch.setattr(train, "fit", diverges)
    for name in ("check_digest", "begin"):
        monkeypatch.setattr(train, name, lambda *_: None)
    with pytest.raises(SearchError):
        train.train(IN_BF16, tmp_path / "again")
    assert SLOW in capsys.readouterr().err
