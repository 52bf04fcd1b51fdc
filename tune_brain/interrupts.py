"""Ctrl-C, SIGTERM and a closed terminal end a block alike."""

import contextlib
import signal
from collections.abc import Iterator

from tune_brain.errors import Interrupted


@contextlib.contextmanager
def interruptible(said: str) -> Iterator[None]:
    """Let each of them unwind a block, so that what it has made aside goes with it.

    Args:
        said: what the error says, in words.

    Raises:
        Interrupted: one of them came.
    """
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGHUP)}
    for kind, handler in before.items():
        # What a command was started to ignore, by nohup for example, it goes on ignoring.
        if handler is not signal.SIG_IGN:
            signal.signal(kind, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(said) from None
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
