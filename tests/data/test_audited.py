"""An audit before a search: once for a content, then from the cache."""

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
    asked: list[Path] = []
    monkeypatch.setattr(
        module, "audit", lambda root, *given, **how: (asked.append(root), audit(root, *given, **how))[1]
    )
    facts = audited(folder)
    assert facts == audit(folder).facts
    assert audited(folder) == facts
    assert len(asked) == 1
    save(folder / "Testing/a/x.png", phantom(0))
    assert audited(folder)["twins"]["any"]["leaked"] == 1
    assert len(asked) == 2
    monkeypatch.setattr(module, "METHOD", module.METHOD + 1)
    audited(folder)
    assert len(asked) == 3


def test_what_cannot_be_read_for_a_moment_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(decoding, "content_of", broken)
        with pytest.raises(DataError, match="must be readable"):
            audited(folder)
    assert audited(folder) == audit(folder).facts
