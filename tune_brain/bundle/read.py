"""Read a bundle without trusting it: files are checked against hashes; nothing is executed or unpickled."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from tune_brain.array_types import Float32s, Ints
from tune_brain.bundle.manifest import MANIFEST
from tune_brain.bundle.schema import ABOUT, CARD, FORMAT, SIMILAR, About, weights_file
from tune_brain.errors import BundleError
from tune_brain.explain import width
from tune_brain.portable.model import Model, assemble
from tune_brain.portable.ood import FEATURES

LARGEST = 4_000_000_000
"""Size limit of one file, in bytes."""

REMEDY = "Copy it again from its source, or export it again: tune-brain export RUN --to DIR"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle in memory."""

    about: About
    model: Model
    embeddings: Float32s
    """[N, D] of the training images, normalised to length 1."""
    labels: Ints
    """[N], classes of the training images."""
    card: str
    """The model card, Markdown."""
    fingerprint: str
    """SHA-256 of the manifest, which lists those of all files; identifies the bundle."""


def open_bundle(folder: Path) -> Bundle:
    """Check every file of a bundle against its manifest, then load it. Python files in it are not run.

    The manifest protects against damaged and exchanged files, not against a bundle that was forged as a
    whole: compare its fingerprint with the sender's for that.

    Raises:
        BundleError: the folder is no bundle, of another format, incomplete or modified.
    """
    contents, fingerprint = _checked(folder)
    about = _about(contents)
    try:
        weights = {member.name: contents[weights_file(member.name)] for member in about.members}
        model = assemble(about.model_dump(), weights)
        similar = load_arrays(contents[SIMILAR])
        embeddings, labels = similar["embeddings"].astype(np.float32), similar["labels"]
        card = contents[CARD].decode()
    except KeyError as error:
        raise _broken(f"{error.args[0]} is missing from {folder}") from None
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise _broken(f"{folder}: {type(error).__name__} {str(error)[:300]}") from None
    network = next(member.network for member in model.members if member.name == about.embedding)
    if len(about.ood.mean) != FEATURES or not _fit(embeddings, labels, width(network), len(about.classes)):
        raise _broken(f"{folder}: arrays whose shapes or values do not match the model")
    if not all(
        value.isfinite().all() for member in model.members for value in member.network.state_dict().values()
    ):
        raise _broken(f"{folder}: weights that are not finite")
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return Bundle(
        about=about,
        model=model,
        embeddings=embeddings / np.maximum(length, 1e-12),
        labels=labels,
        card=card,
        fingerprint=fingerprint,
    )


def _fit(embeddings: Float32s, labels: NDArray[Any], size: int, classes: int) -> bool:
    return (
        labels.ndim == 1
        and len(labels) > 0
        and embeddings.shape == (len(labels), size)
        and np.issubdtype(labels.dtype, np.integer)
        and bool(((labels >= 0) & (labels < classes)).all() and np.isfinite(embeddings).all())
    )


def _checked(folder: Path) -> tuple[dict[str, bytes], str]:
    """Contents by file name, checked against the manifest, and the SHA-256 of the manifest itself."""
    path = folder / MANIFEST
    try:
        if not path.is_file():
            raise _broken(f"no file {path}")
        raw = path.read_bytes()
        manifest = json.loads(raw)
        entries: Mapping[str, Any] = manifest["files"]
        listed = {name: (int(entry["bytes"]), str(entry["sha256"])) for name, entry in entries.items()}
    except OSError as error:
        raise _broken(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise _broken(f"{path} does not list files with their hashes") from None
    if manifest.get("format") != FORMAT:
        raise BundleError(
            f"This version of tune_brain reads bundles of format {FORMAT}",
            found=f"{manifest.get('format')!r} in {path}",
            remedy="Export it again from its run: tune-brain export RUN --to DIR",
        )
    present = set()
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        # `rglob` does not follow links, so files in a linked folder would escape the check below.
        if file.is_symlink():
            raise _broken(f"a symbolic link: {name}")
        if file.is_file():
            present.add(name)
        elif not file.is_dir():
            raise _broken(f"neither a file nor a folder: {name}")
    if unlisted := sorted(present - listed.keys() - {MANIFEST}):
        # Python writes one when it imports the bundle's modules by other means than predict.py.
        cache = ", a cache of Python that may be deleted" if "__pycache__" in unlisted[0] else ""
        raise _broken(f"a file that is not in the manifest: {unlisted[0]}{cache}")
    contents = {}
    for name, (length, digest) in listed.items():
        # Only a name that was found below the folder is read, so none leads out of it.
        if name not in present:
            raise _broken(f"{name!r} is missing")
        contents[name] = _read(folder, name, length)
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise _broken(f"{name} has another SHA-256 than in the manifest")
    return contents, hashlib.sha256(raw).hexdigest()


def _read(folder: Path, name: str, length: int) -> bytes:
    path = folder / name
    try:
        size = path.stat().st_size
        if size != length:
            raise _broken(f"{name} has {size} bytes instead of {length}")
        if size > LARGEST:
            raise _broken(f"{name} has {size} bytes, more than {LARGEST}")
        return path.read_bytes()
    except OSError as error:
        raise _broken(f"{name}: {error.strerror}") from None


def _about(contents: Mapping[str, bytes]) -> About:
    if ABOUT not in contents:
        raise _broken(f"no {ABOUT}")
    try:
        return About.model_validate_json(contents[ABOUT])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "values"
        raise _broken(f"{ABOUT}: {place}: {first['msg']}") from None


def _broken(found: str) -> BundleError:
    return BundleError(
        "A bundle must be complete and unmodified since its export", found=found, remedy=REMEDY
    )
