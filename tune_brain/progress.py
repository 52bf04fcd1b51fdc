"""Progress that a person can read: a live table in a terminal, plain dated lines in a log file."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live

REFRESH = 2
"""Times a second that a terminal is redrawn."""


class Progress:
    """Lines go to `run.log`, and to the screen as they are; a table is drawn below them in a terminal."""

    def __init__(self, log: Path) -> None:
        """Open the log for appending; nothing is drawn yet."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self._console = Console(stderr=True, highlight=False)

    def say(self, line: str) -> None:
        """One line for the log and the screen."""
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
        self._console.print(line, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def table(self, draw: Callable[[], RenderableType]) -> Iterator[None]:
        """Keep a table in sight while a block runs, where there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=draw, console=self._console, refresh_per_second=REFRESH, transient=True):
            yield


def clock(seconds: float) -> str:
    """A duration as a person says it: 42 s, 7 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
