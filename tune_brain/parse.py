"""Values that an option holds as text: durations, ladders, final rounds, several at once."""

import re
from collections.abc import Callable
from typing import Any

from tune_brain.errors import ConfigError


def several(name: str, given: str, separator: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    """Values to compare, given in one option.

    Raises:
        ConfigError: one is not of the kind.
    """
    try:
        return tuple(kind(part) for part in given.split(separator))
    except ValueError:
        option = f"--{name.replace('_', '-')}"
        raise ConfigError(f"{option} takes numbers with '{separator}' between them", found=given) from None


def rungs(ladder: str) -> tuple[int, ...]:
    """The lengths of a ladder.

    Raises:
        ConfigError: they are not numbers of epochs.
    """
    try:
        return tuple(int(rung) for rung in ladder.split(","))
    except ValueError:
        raise ConfigError("--ladder takes numbers of epochs, as in 3,6,12", found=ladder) from None


def final_round(given: str) -> tuple[int, int]:
    """How many trials a final round has, and with how many seeds each.

    Raises:
        ConfigError: it is not KxR.
    """
    if not (match := re.fullmatch(r"(\d+)x(\d+)", given.strip())):
        raise ConfigError("--final-round takes trials x seeds, as in 3x2", found=given)
    return int(match[1]), int(match[2])


def seconds(name: str, duration: str) -> float:
    """A duration such as 90s, 30m, 2h or 1h30m, given in an option, in seconds.

    Raises:
        ConfigError: it is not one.
    """
    # A number alone is seconds; after hours or minutes it would be taken for minutes or for seconds.
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?|(\d+)", duration.strip())
    if not match or not any(match.groups()):
        raise ConfigError(
            f"--{name.replace('_', '-')} takes a duration such as 90s, 30m, 2h or 1h30m", found=duration
        )
    hours, minutes, rest, alone = (int(part or 0) for part in match.groups())
    return float(3600 * hours + 60 * minutes + rest + alone)
