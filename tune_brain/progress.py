"""Progress for people: lines and a live table or bar in a terminal, dated lines in a log file."""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import Progress as Bar

from tune_brain.errors import RunFolderError
from tune_brain.files import writing
from tune_brain.text import legible

REFRESH = 2
"""Redraws of the terminal per second."""


class _Screen(io.TextIOBase):
    """Standard error that ignores failures such as a closed terminal: the log still gets every line.

    While rich draws, `sys.stderr` is rich's own proxy, which writes back to this object.
    """

    @property
    def _stderr(self) -> Any:
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of standard error."""
        return getattr(self._stderr, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write text; failures are ignored."""
        with contextlib.suppress(OSError, AttributeError):
            self._stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush; failures are ignored."""
        with contextlib.suppress(OSError, AttributeError):
            self._stderr.flush()

    def isatty(self) -> bool:
        """Whether standard error is a terminal."""
        return self._stderr is not None and bool(self._stderr.isatty())

    def fileno(self) -> int:
        """The file descriptor, by which rich asks for the size of the terminal."""
        return int(self._stderr.fileno())


class Progress:
    """Prints lines to the screen and, dated, to a log; a terminal shows a table or bar below them."""

    def __init__(self) -> None:
        """Start without a log; lines are buffered until `log_to` names one."""
        self._console = Console(file=cast(IO[str], _Screen()), highlight=False)
        self._buffered: list[str] = []
        self._log: Path | None = None

    def log_to(self, log: Path) -> None:
        """Append the buffered lines and all later ones to a file."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self._write("".join(self._buffered))

    def say(self, line: str) -> None:
        """Print one line to the log and the screen; unprintable characters in it are escaped."""
        line = legible(line)
        self._write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
        self._console.print(line, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def table(self, draw: Callable[[], RenderableType]) -> Iterator[None]:
        """Show a table below the lines while a block runs, if there is a terminal.

        Args:
            draw: returns the current table; called `REFRESH` times a second.
        """
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=draw, console=self._console, refresh_per_second=REFRESH, transient=True):
            yield

    @contextlib.contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """Show a progress bar while a block runs, if there is a terminal.

        Yields:
            A function that moves the bar, called with the number done and the total.
        """
        with Bar(console=self._console, transient=True, disable=not self._console.is_terminal) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def _write(self, text: str) -> None:
        if self._log is None:
            self._buffered.append(text)
            return
        with writing(self._log, RunFolderError), self._log.open("a", encoding="utf-8") as file:
            file.write(text)
