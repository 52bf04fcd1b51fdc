"""Ways to search that a replay compares: which there are, and which are refused beforehand."""

from pathlib import Path
from typing import Any

import pytest

from tune_brain.config import RunConfig
from tune_brain.errors import ConfigError
from tune_brain.stages.replay import variants


@pytest.fixture
def config() -> RunConfig:
    return RunConfig(out=Path("run"), arch=("cnn",), configs=8, ladder=(3, 12), final_round=(0, 0))


def test_a_single_length_is_replayed_to_its_end_beside_a_ladder_until_converged(config: RunConfig) -> None:
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


def test_the_yardstick_is_a_search_of_the_same_size(config: RunConfig) -> None:
    ways = variants(config, {"slots": (2,), "warm_start": (False,), "budget": (2.0, 0.5)})
    assert [way.configs for way in ways] == [16, 16, 4]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"slots": (0,)}, "slots.*greater than or equal to 1, not 0"),
        ({"ladder": ((6, 3),)}, r"ladder must rise.*\(6, 3\)"),
        ({"ladder": ((0, 3),)}, "ladder must rise"),
        ({"budget": (float("nan"),)}, "--budget takes numbers above 0"),
        ({"budget": (float("inf"),)}, "--budget takes numbers above 0"),
        ({"budget": (1e308,)}, "--budget takes numbers above 0"),
        ({"budget": (0.0,)}, "--budget takes numbers above 0"),
        ({"sampler": ("best",)}, "sampler.*not 'best'"),
    ],
)
def test_a_way_that_no_search_could_go_is_refused(
    config: RunConfig, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        variants(config, {"slots": (2,), "warm_start": (False,), **given})
