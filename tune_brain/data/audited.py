"""The facts of an audit, found once for a folder and kept in the cache beside its arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tune_brain.data.audit import FORMAT, METHOD, audit
from tune_brain.data.cache import cache_root, is_whole, store
from tune_brain.data.catalogue import scan
from tune_brain.data.prepare import key
from tune_brain.records import read_json


def audited(root: Path, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Audit an image folder, or read back what an earlier call has found.

    Raises:
        DataError: the folder cannot be searched, a file cannot be read for the moment, or the cache cannot be
            written.
    """
    folder = cache_root() / key(scan(root), f"audit {FORMAT} {METHOD}")
    if not is_whole(folder):
        store(folder, {}, {"audit": audit(root, progress, strict=True).facts})
    return read_json(folder / "audit.json")
