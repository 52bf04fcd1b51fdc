"""When an evaluation leaves the test sealed."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tune_brain.errors import SearchError
from tune_brain.runs import Run
from tune_brain.stages import evaluate as stage
from tune_brain.stages.resume import resume


@pytest.mark.usefixtures("no_ray")
def test_the_test_stays_sealed_where_every_seed_of_the_winners_diverges(
    made: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, opened = made(), []
    resume(run.folder)
    monkeypatch.setattr(stage, "train_all", lambda *_: [])
    monkeypatch.setattr(stage, "validate", lambda *_: SimpleNamespace(of=lambda _: []))
    monkeypatch.setattr(stage, "open_test", lambda *_: opened.append("test"))
    with pytest.raises(SearchError, match=r"all seed runs of the winners diverged: linear\.\nIt stays"):
        stage.evaluate(run.folder)
    assert not opened
    assert not (run.folder / "sealed.json").exists()
