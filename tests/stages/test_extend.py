"""What a run may be asked for more."""

from collections.abc import Callable
from typing import Any

import pytest
from trained import train

from tune_brain.errors import ConfigError
from tune_brain.runs import Run
from tune_brain.stages.extend import extended
from tune_brain.stages.preconditions import unfinished


@pytest.mark.parametrize("more", [(2, 2), (3, 3)])
def test_a_final_round_grows_and_is_then_unfinished(made: Callable[..., Run], more: tuple[int, int]) -> None:
    run = made(final_round=(2, 1))
    train(run)
    grown = extended(run, {"final_round": more})
    assert grown.config.final_round == more
    assert (unfinished(run), unfinished(grown)) == ([], list(run.config.arch))


@pytest.mark.parametrize(
    ("less", "said"),
    [
        ({"final_round": (2, 1)}, "2x1 after 2x2"),
        ({"final_round": (3, 1)}, "3x1 after 2x2"),
        ({"final_round": (0, 0)}, "0x0 after 2x2"),
        ({"configs": 1}, "1 after"),
        ({"weights": "mine.pth"}, "mine.pth after none"),
    ],
)
def test_what_is_less_than_before_is_refused(
    made: Callable[..., Run], less: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        extended(made(final_round=(2, 2)), less)
