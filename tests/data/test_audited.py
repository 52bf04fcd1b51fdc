"""An audit before a search: once for a content, then from the cache."""

from pathlib import Path

import pytest
from made import phantom, save

from tune_brain.data import audited as module
from tune_brain.data.audit import audit
from tune_brain.data.audited import audited


def test_a_folder_is_audited_once_until_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(
        module, "audit", lambda root, progress: (asked.append(root), audit(root, progress))[1]
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
