"""Data classes of arrays, kept as one .npz file each."""

import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints
from zipfile import BadZipFile

import numpy as np

from tune_brain.errors import RunFolderError
from tune_brain.files import replacing, writing_run

_DAMAGED = (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error)
"""What NumPy raises for an .npz file that is missing, truncated, of another format or without an array."""

Kind = TypeVar("Kind")


def store(path: Path, value: Any) -> None:
    """Write a data class whose fields are arrays, or arrays or strings by name, to an .npz file.

    A member of the file is called `field`, or `field/name`. A failed write leaves the former file as it was.

    Raises:
        RunFolderError: the file cannot be written.
    """
    arrays = dict[str, Any]()
    for field in fields(value):
        held = getattr(value, field.name)
        if isinstance(held, Mapping):
            arrays |= {f"{field.name}/{name}": array for name, array in held.items()}
        else:
            arrays[field.name] = held
    with writing_run(path.parent), replacing(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)


def stored(path: Path, kind: type[Kind], rule: str, remedy: str = "") -> Kind:
    """Read what `store` has written; nothing is unpickled.

    Args:
        path: the file.
        kind: the data class.
        rule: of the error, what is wrong without the file.
        remedy: of the error.

    Raises:
        RunFolderError: the file is missing, damaged, or lacks arrays because an older version wrote it.
    """
    values = dict[str, Any]()
    try:
        with np.load(path, allow_pickle=False) as file:
            for name, hint in get_type_hints(kind).items():
                if issubclass(get_origin(hint) or hint, Mapping):
                    members = [member for member in file.files if member.startswith(f"{name}/")]
                    values[name] = {member.partition("/")[2]: _plain(file[member]) for member in members}
                else:
                    values[name] = file[name]
    except _DAMAGED as error:
        raise RunFolderError(rule, found=f"{path}: {error}", remedy=remedy) from None
    return kind(**values)


def _plain(array: Any) -> Any:
    return array.item() if array.ndim == 0 else array
