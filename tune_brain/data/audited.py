"""An audit whose facts are cached, so that a search need not audit the same folder twice."""

from pathlib import Path
from typing import Any

from tune_brain.data.audit import FORMAT, METHOD, audit
from tune_brain.data.cache import cache_key, cache_root, is_whole, store
from tune_brain.data.catalogue import scan
from tune_brain.data.decoding import Advance
from tune_brain.files import read_json


def audited(root: Path, advance: Advance | None = None) -> dict[str, Any]:
    """Audit an image folder, or read the facts of an earlier audit of the same files from the cache.

    Args:
        root: the image folder, see `tune_brain.data.catalogue.scan`.
        advance: reports progress while decoding.

    Raises:
        DataError: the folder is not a usable data set, a file cannot be read at the moment, or the cache
            cannot be written.
    """
    folder = cache_root() / cache_key(scan(root), f"audit {FORMAT} {METHOD}")
    if not is_whole(folder):
        store(folder, {}, {"audit": audit(root, advance, strict=True).facts})
    return read_json(folder / "audit.json")
