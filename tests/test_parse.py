"""Parsing of option values, and the errors for invalid ones."""

import pytest

from tune_brain.cli.options import changes
from tune_brain.cli.parse import final_round, seconds
from tune_brain.errors import ConfigError


@pytest.mark.parametrize(
    ("duration", "wanted"),
    [("90s", 90), ("90", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), (" 1h1s ", 3601)],
)
def test_durations_are_parsed_to_seconds(duration: str, wanted: float) -> None:
    assert seconds("time_budget", duration) == wanted


@pytest.mark.parametrize("name", ["time_budget", "trial_timeout"])
@pytest.mark.parametrize("duration", ["", "soon", "1d", "-5m", "1.5h", "m", "1h30", "30m5"])
def test_an_error_names_the_option_and_the_value(name: str, duration: str) -> None:
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} takes a duration") as caught:
        changes({name: duration})
    assert repr(duration) in str(caught.value) or duration in str(caught.value)


def test_none_removes_a_limit() -> None:
    assert changes({"time_budget": "none", "trial_timeout": "none"}) == {
        "time_budget": None,
        "trial_timeout": None,
    }
    assert changes({"address": "local"}) == {"address": None}
    assert changes({"address": "auto"}) == {"address": "auto"}


def test_a_final_round_is_parsed_as_trials_and_seeds() -> None:
    assert [final_round(given) for given in ("3x1", "2x4", "0x0", "1x0")] == [(3, 1), (2, 4), (0, 0), (1, 0)]
    with pytest.raises(ConfigError, match="trials x seeds, such as 3x2; found: 3"):
        final_round("3")
