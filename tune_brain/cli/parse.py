"""Parse option values: durations, ladders, final rounds, and lists of values."""

import re
from collections.abc import Callable
from typing import Any

from tune_brain.errors import ConfigError


def several(name: str, given: str, separator: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    """Parse several values given in one option.

    Args:
        name: the parameter of the option.
        given: the text.
        separator: separates the values.
        kind: parses one value; raises ValueError where it cannot.

    Raises:
        ConfigError: a value cannot be parsed.
    """
    try:
        return tuple(kind(part) for part in given.split(separator))
    except ValueError:
        option = f"--{name.replace('_', '-')}"
        raise ConfigError(f"{option} takes numbers separated by '{separator}'", found=given) from None


def rungs(ladder: str) -> tuple[int, ...]:
    """Parse the lengths of a ladder, in epochs, such as 3,6,12.

    Raises:
        ConfigError: they are not whole numbers.
    """
    try:
        return tuple(int(rung) for rung in ladder.split(","))
    except ValueError:
        raise ConfigError("--ladder takes numbers of epochs, such as 3,6,12", found=ladder) from None


def final_round(given: str) -> tuple[int, int]:
    """Parse a final round KxR: K trials, each retrained with R further seeds.

    Raises:
        ConfigError: it has another form.
    """
    if not (match := re.fullmatch(r"(\d+)x(\d+)", given.strip())):
        raise ConfigError("--final-round takes trials x seeds, such as 3x2", found=given)
    return int(match[1]), int(match[2])


def seconds(name: str, duration: str) -> float:
    """Parse a duration such as 90s, 30m, 2h or 1h30m; returns seconds.

    Args:
        name: the parameter of the option.
        duration: the text. A number alone means seconds.

    Raises:
        ConfigError: it has another form.
    """
    # In 1h30 the number without a unit could mean minutes or seconds, so it is refused.
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?|(\d+)", duration.strip())
    if not match or not any(match.groups()):
        raise ConfigError(
            f"--{name.replace('_', '-')} takes a duration such as 90s, 30m, 2h or 1h30m", found=duration
        )
    hours, minutes, rest, plain = (int(part or 0) for part in match.groups())
    return float(3600 * hours + 60 * minutes + rest + plain)
