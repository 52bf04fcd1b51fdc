"""Progress that a person can read: a live table in a terminal, plain dated lines in a log file."""

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
from tune_brain.text import legible

REFRESH = 2
"""Times a second that a terminal is redrawn."""


class _Screen(io.TextIOBase):
    """Standard error, whose end is not the end of a search: the log has every line.

    While rich draws, `sys.stderr` is a proxy of its own that leads back here.
    """

    @property
    def _stderr(self) -> Any:
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As its own."""
        return getattr(self._stderr, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """As of any file; what cannot be written is left out."""
        with contextlib.suppress(OSError, AttributeError):
            self._stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """As of any file."""
        with contextlib.suppress(OSError, AttributeError):
            self._stderr.flush()

    def isatty(self) -> bool:
        """Whether a person may see it."""
        return self._stderr is not None and bool(self._stderr.isatty())

    def fileno(self) -> int:
        """By which its size is asked for."""
        return int(self._stderr.fileno())


class Progress:
    """Lines go to the screen as they are and, dated, to a log; a terminal shows a table or bar below."""

    def __init__(self) -> None:
        """Lines are remembered until `log_to` names a log."""
        self._console = Console(file=cast(IO[str], _Screen()), highlight=False)
        self._remembered: list[str] = []
        self._log: Path | None = None

    def log_to(self, log: Path) -> None:
        """Write the remembered lines and all that follow to the end of a file."""
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self._write("".join(self._remembered))

    def say(self, line: str) -> None:
        """One line for the log and the screen; names in it may be of any kind."""
        line = legible(line)
        self._write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
        self._console.print(line, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def table(self, draw: Callable[[], RenderableType]) -> Iterator[None]:
        """Keep a table in sight while a block runs, where there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=draw, console=self._console, refresh_per_second=REFRESH, transient=True):
            yield

    @contextlib.contextmanager
    def bar(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A bar in a terminal, moved by calling what is yielded with the numbers done and of all."""
        with Bar(console=self._console, transient=True, disable=not self._console.is_terminal) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def _write(self, text: str) -> None:
        if self._log is None:
            self._remembered.append(text)
            return
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise RunFolderError(
                "A run's log must be writable", found=f"{self._log}: {error.strerror}"
            ) from None
