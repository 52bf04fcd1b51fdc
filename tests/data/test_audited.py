"""The audit before a search: done once, then read from the cache."""

import errno
import os
from pathlib import Path

import pytest
from made import phantom, save

from tune_brain.data import audited as module
from tune_brain.data import decoding
from tune_brain.data.audit import audit
from tune_brain.data.audited import audited
from tune_brain.errors import DataError


def test_a_folder_is_audited_once_until_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []
    monkeypatch.setattr(
        module, "audit", lambda root, *args, **options: (calls.append(root), audit(root, *args, **options))[1]
    )
    facts = audited(folder)
    assert facts == audit(folder).facts
    assert audited(folder) == facts
    assert len(calls) == 1
    save(folder / "Testing/a/x.png", phantom(0))
    assert audited(folder)["twins"]["any"]["leaked"] == 1
    assert len(calls) == 2
    monkeypatch.setattr(module, "METHOD", module.METHOD + 1)
    audited(folder)
    assert len(calls) == 3


def test_findings_with_a_transient_read_error_are_not_cached(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "content_of", broken)
        with pytest.raises(DataError, match="Cannot read an image file"):
            audited(folder)
    assert audited(folder) == audit(folder).facts
