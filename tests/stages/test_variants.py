"""The variants that a replay compares, and which are refused beforehand."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tune_brain.config import RunConfig
from tune_brain.errors import ConfigError, RunFolderError
from tune_brain.stages import replay as stage
from tune_brain.stages.replay import variants

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


@pytest.fixture
def config() -> RunConfig:
    return RunConfig(out=Path("run"), arch=("cnn",), configs=8, ladder=(3, 12), final_round=(0, 0))


def test_convergence_is_only_combined_with_ladders_of_several_lengths(config: RunConfig) -> None:
    given = {"slots": (2,), "warm_start": (False,), "until_converged": (False, True)}
    names = [way.name for way in variants(config, {**given, "ladder": ((3, 12), (12,))})]
    assert names == [
        "random 12 of 8, 2 slots",
        "tpe 3,12 of 8, 2 slots",
        "tpe 3,12 of 8, until converged, 2 slots",
        "tpe 12 of 8, 2 slots",
    ]
    until = config.model_copy(update={"until_converged": True})
    ways = variants(until, {"slots": (2,), "warm_start": (False,), "ladder": ((12,),)})
    assert [way.name for way in ways] == ["random 12 of 8, 2 slots", "tpe 12 of 8, 2 slots"]


def test_the_reference_has_as_many_configurations_as_the_first_variant(config: RunConfig) -> None:
    ways = variants(config, {"slots": (2,), "warm_start": (False,), "budget": (2.0, 0.5)})
    assert [way.configs for way in ways] == [16, 16, 4]


def test_a_run_that_cannot_be_written_is_not_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tune_brain.runs.try_writing", refuse)
    monkeypatch.setattr(stage, "read_outcomes", None)
    with pytest.raises(RunFolderError, match="Read-only file system"):
        stage.replay([REFERENCE / "sartaj"], {}, repeats=1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"slots": (0,)}, "slots.*greater than or equal to 1, not 0"),
        ({"ladder": ((6, 3),)}, r"ladder must increase.*\(6, 3\)"),
        ({"ladder": ((0, 3),)}, "ladder must increase"),
        ({"budget": (float("nan"),)}, "--budget must be a number above 0"),
        ({"budget": (float("inf"),)}, "--budget must be a number above 0"),
        ({"budget": (1e308,)}, "--budget must be a number above 0"),
        ({"budget": (0.0,)}, "--budget must be a number above 0"),
        ({"sampler": ("best",)}, "sampler.*not 'best'"),
    ],
)
def test_an_invalid_variant_is_refused(config: RunConfig, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        variants(config, {"slots": (2,), "warm_start": (False,), **given})
