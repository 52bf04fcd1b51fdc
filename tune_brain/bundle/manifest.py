"""The manifest of a bundle: the length and SHA-256 of each of its files."""

import hashlib
from pathlib import Path

from tune_brain.bundle.schema import FORMAT
from tune_brain.files import as_json, write_text

MANIFEST = "manifest.json"


def write_manifest(folder: Path) -> None:
    """List every file of a folder, except the manifest itself, in its manifest."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    files.pop(MANIFEST, None)
    entries = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    }
    write_text(folder / MANIFEST, as_json({"format": FORMAT, "files": entries}))
