"""Read a bundle without trusting it: every file against its hash, nothing executed, nothing unpickled."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from tune_brain.bundle.schema import ABOUT, CARD, FORMAT, SIMILAR, About, weights_file
from tune_brain.errors import BundleError
from tune_brain.explain import width
from tune_brain.portable.model import Model, assemble
from tune_brain.portable.ood import FEATURES
from tune_brain.records import as_json, write_text

MANIFEST = "manifest.json"
LARGEST = 4_000_000_000
"""Bytes of a file beyond which a bundle is refused."""

REMEDY = "Take it again from where it was made, or export it anew: tune-brain export RUN --to DIR"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle in memory."""

    about: About
    model: Model
    embeddings: NDArray[np.float32]
    """[N, D] of the training images, each of length 1."""
    labels: NDArray[np.int64]
    """[N], their classes."""
    card: str
    """The model card, Markdown."""
    fingerprint: str
    """SHA-256 of the manifest, which holds those of all files: the bundle's identity."""


def seal(folder: Path) -> None:
    """Write the manifest of a folder: the length and SHA-256 of every file."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files(folder)}
    files.pop(MANIFEST, None)
    held = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    }
    write_text(folder / MANIFEST, as_json({"format": FORMAT, "files": held}))


def open_bundle(folder: Path) -> Bundle:
    """Check every file of a bundle, then load it; the Python files in it are for people and are not run.

    A manifest guards against damage and against files exchanged, not against a bundle that somebody made
    up as a whole: compare its fingerprint with that of the sender.

    Raises:
        BundleError: the folder is no bundle, of another format, incomplete or changed.
    """
    content, fingerprint = _checked(folder)
    about = _about(content)
    try:
        weights = {one.name: content[weights_file(one.name)] for one in about.members}
        model = assemble(about.model_dump(), weights)
        similar = load_arrays(content[SIMILAR])
        embeddings, labels = similar["embeddings"].astype(np.float32), similar["labels"]
        card = content[CARD].decode()
    except KeyError as error:
        raise _broken(f"{error.args[0]} is missing from {folder}") from None
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise _broken(f"{folder}: {type(error).__name__} {str(error)[:300]}") from None
    network = next(one.network for one in model.members if one.name == about.embedding)
    if len(about.ood.mean) != FEATURES or not _fit(embeddings, labels, width(network), len(about.classes)):
        raise _broken(f"{folder}: arrays that do not fit each other")
    if not all(
        value.isfinite().all() for one in model.members for value in one.network.state_dict().values()
    ):
        raise _broken(f"{folder}: weights that are no numbers")
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return Bundle(
        about=about,
        model=model,
        embeddings=embeddings / np.maximum(length, 1e-12),
        labels=labels,
        card=card,
        fingerprint=fingerprint,
    )


def _fit(embeddings: NDArray[np.float32], labels: NDArray[Any], size: int, classes: int) -> bool:
    return (
        labels.ndim == 1
        and len(labels) > 0
        and embeddings.shape == (len(labels), size)
        and np.issubdtype(labels.dtype, np.integer)
        and bool(((labels >= 0) & (labels < classes)).all() and np.isfinite(embeddings).all())
    )


def _checked(folder: Path) -> tuple[dict[str, bytes], str]:
    """The contents of every file by name, each as the manifest promises, and the manifest's own SHA-256."""
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
        manifest = json.loads(raw)
        promised: Mapping[str, Any] = manifest["files"]
        asked = {name: (int(of["bytes"]), str(of["sha256"])) for name, of in promised.items()}
    except OSError as error:
        raise _broken(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise _broken(f"{path} does not list files with their hashes") from None
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"This tune_brain reads bundles of format {FORMAT}",
            found=f"{manifest.get('format')!r} in {path}",
            remedy="Export it again from its run: tune-brain export RUN --to DIR",
        )
    found = {file.relative_to(folder).as_posix() for file in _files(folder)} - {MANIFEST}
    if strange := sorted(found - asked.keys()):
        # An older predict.py let Python leave it there.
        cached = ", which may be deleted" if "__pycache__" in strange[0] else ""
        raise _broken(f"a file that the manifest does not name: {strange[0]}{cached}")
    content = {}
    for name, (length, digest) in asked.items():
        content[name] = _read(folder, name, length)
        if hashlib.sha256(content[name]).hexdigest() != digest:
            raise _broken(f"{name} is not what the manifest says")
    return content, hashlib.sha256(raw).hexdigest()


def _read(folder: Path, name: str, length: int) -> bytes:
    parts = PurePosixPath(name)
    path = folder / parts
    try:
        inside = not parts.is_absolute() and ".." not in parts.parts
        inside = inside and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # no name of a file, or links in a circle
        inside = False
    if not inside:
        raise _broken(f"a file outside the bundle: {name!r}")
    try:
        if path.is_symlink() or not path.is_file():
            raise _broken(f"{name} is missing")
        size = path.stat().st_size
        if size != length or size > LARGEST:
            raise _broken(f"{name} has {size} bytes instead of {length}")
        return path.read_bytes()
    except OSError as error:
        raise _broken(f"{name}: {error.strerror}") from None


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def _about(content: Mapping[str, bytes]) -> About:
    if ABOUT not in content:
        raise _broken(f"no {ABOUT}")
    try:
        return About.model_validate_json(content[ABOUT])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "values"
        raise _broken(f"{ABOUT}: {place}: {first['msg']}") from None


def _broken(found: str) -> BundleError:
    return BundleError("A bundle must be whole and as it was exported", found=found, remedy=REMEDY)
