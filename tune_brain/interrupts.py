"""Handle Ctrl-C, SIGTERM and a closed terminal alike."""

import contextlib
import signal
from collections.abc import Iterator

from tune_brain.errors import Interrupted


@contextlib.contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into an error, so that a block's cleanup removes temporary files.

    Raises:
        Interrupted: one of these signals arrived.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        # A signal that the command was started to ignore, for example by nohup, stays ignored.
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(message) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
