"""Signals that interrupt a command, and one that it ignores."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from tune_brain.errors import Interrupted
from tune_brain.interrupts import interruptible


def ended(folder: Path, end: signal.Signals) -> None:
    with interruptible("Interrupted; nothing is kept"), tempfile.TemporaryDirectory(dir=folder):
        assert list(folder.iterdir())
        os.kill(os.getpid(), end)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_the_block_and_the_handlers_are_restored(
    tmp_path: Path, end: signal.Signals
) -> None:
    before = signal.getsignal(end)
    with pytest.raises(Interrupted, match="Interrupted; nothing is kept"):
        ended(tmp_path, end)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(end) is before


def test_a_signal_ignored_because_of_nohup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible("Interrupted"):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
