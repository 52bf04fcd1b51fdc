"""A bundle that was modified after its export is refused, and nothing in it is run."""

import importlib.util
import json
import math
import os
import pickle
import py_compile
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import SIZE, change, write_bundle
from numpy.typing import NDArray
from safetensors.numpy import save as save_arrays
from safetensors.torch import save

from tune_brain.bundle.manifest import MANIFEST, write_manifest
from tune_brain.bundle.read import open_bundle
from tune_brain.bundle.schema import SIMILAR
from tune_brain.errors import BundleError
from tune_brain.models import state_of
from tune_brain.portable.networks import network

WEIGHTS = "weights/winner-linear-0.safetensors"


@pytest.fixture(scope="module")
def whole(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "linear", phantoms, ("linear",))


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "bundle")


def test_copies_of_an_intact_bundle_open_with_the_same_fingerprint(whole: Path, bundle: Path) -> None:
    first, second = open_bundle(whole), open_bundle(bundle)
    assert first.fingerprint == second.fingerprint
    assert first.about.classes == first.model.classes
    assert len(first.embeddings) == len(first.labels) == 56


@pytest.mark.slow
def test_cached_bytecode_is_refused_and_predict_does_not_run_it(bundle: Path) -> None:
    cached = Path(importlib.util.cache_from_source(bundle / "portable" / "model.py"))
    cached.parent.mkdir()
    evil = bundle.parent / "evil.py"
    evil.write_text("raise SystemExit('evil')")
    py_compile.compile(
        str(evil), str(cached), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    with pytest.raises(BundleError, match="__pycache__"):
        open_bundle(bundle)
    script = [sys.executable, str(bundle / "predict.py"), str(bundle / "portable" / "networks.py")]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert "evil" not in done.stderr
    assert "networks.py: no JPEG or PNG image that can be read" in done.stderr
    shutil.rmtree(cached.parent)
    open_bundle(bundle)


def flip(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)


def truncate(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes((bundle / name).read_bytes()[:-1])


def link(bundle: Path, name: str) -> None:
    shutil.move(bundle / name, bundle.parent / "elsewhere")
    (bundle / name).symlink_to(bundle.parent / "elsewhere")


@pytest.mark.parametrize(
    "name", [WEIGHTS, "bundle.json", "similar.safetensors", "predict.py", "portable/model.py"]
)
@pytest.mark.parametrize("harm", [flip, truncate, lambda bundle, name: (bundle / name).unlink(), link])
def test_a_modified_missing_or_linked_file_is_refused(
    bundle: Path, name: str, harm: Callable[[Path, str], None]
) -> None:
    harm(bundle, name)
    with pytest.raises(BundleError, match=name.split("/")[-1].split(".")[0]):
        open_bundle(bundle)


def test_a_file_over_the_limit_is_refused_before_it_is_read(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune_brain.bundle.read.LARGEST", 10)
    with pytest.raises(BundleError, match="bytes, more than 10"):
        open_bundle(bundle)


def test_an_unlisted_file_is_refused(bundle: Path) -> None:
    (bundle / "portable" / "numpy.py").write_text("print('gotcha')")
    with pytest.raises(BundleError, match=r"not in the manifest: portable/numpy\.py"):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["numpy", "portable", "weights"])
def test_a_linked_folder_is_refused_whether_it_is_new_or_replaces_one(bundle: Path, name: str) -> None:
    elsewhere = bundle.parent / "elsewhere"
    shutil.move(bundle / name, elsewhere) if (bundle / name).exists() else elsewhere.mkdir()
    (elsewhere / "__init__.py").touch()
    (bundle / name).symlink_to(elsewhere)
    with pytest.raises(BundleError, match=f"a symbolic link: {name}"):
        open_bundle(bundle)


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{}",
        '{"files": 3}',
        '{"files": {"a": {}}}',
        '{"format": 3, "files": {"../../etc/passwd": {"bytes": 1, "sha256": "0"}}}',
        '{"format": 2, "files": {}}',
        '{"format": 3, "files": {}}',
        "[" * 100_000,
        '{"format": 3, "files": {"a": {"bytes": 1e999, "sha256": "0"}}}',
    ],
)
def test_a_malformed_manifest_is_refused(bundle: Path, manifest: str) -> None:
    (bundle / MANIFEST).write_text(manifest)
    with pytest.raises(BundleError):
        open_bundle(bundle)


class Gotcha:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return eval, ("(_ for _ in ()).throw(SystemExit('it ran'))",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Gotcha()),
        b"",
        b"\xff" * 100,
        save(state_of(network("linear", 4, 32))),
        save(state_of(network("cnn", 4, 48))),
        save({name: value * math.nan for name, value in state_of(network("linear", 4, SIZE)).items()}),
    ],
    ids=["pickle", "empty", "noise", "another size", "another architecture", "no numbers"],
)
def test_weights_that_do_not_fit_are_refused_even_if_the_manifest_lists_them(
    bundle: Path, content: bytes
) -> None:
    (bundle / WEIGHTS).write_bytes(content)
    write_manifest(bundle)
    with pytest.raises(BundleError):
        open_bundle(bundle)


@pytest.mark.parametrize(
    ("embeddings", "labels"),
    [
        (np.ones((2, 128)), np.array([0, 4])),
        (np.ones((2, 128)), np.array([0, -1])),
        (np.ones((2, 128)), np.array([0.0, 1.0])),
        (np.ones((2, 127)), np.array([0, 1])),
        (np.ones((0, 128)), np.array([], int)),
        (np.full((2, 128), np.nan), np.array([0, 1])),
    ],
)
def test_embeddings_that_do_not_match_the_network_are_refused(
    bundle: Path, embeddings: NDArray[np.float64], labels: NDArray[Any]
) -> None:
    (bundle / SIMILAR).write_bytes(save_arrays({"embeddings": embeddings, "labels": labels}))
    write_manifest(bundle)
    with pytest.raises(BundleError, match="do not match the model"):
        open_bundle(bundle)
    fitting = {"embeddings": np.ones((2, 128)), "labels": np.array([0, 3])}
    (bundle / SIMILAR).write_bytes(save_arrays(fitting))
    write_manifest(bundle)
    assert open_bundle(bundle).labels.tolist() == [0, 3]


@pytest.mark.parametrize(
    "fields",
    [
        {"image_size": 10**6},
        {"classes": ["one"]},
        {"members": []},
        {"embedding": "nobody"},
        {"ood": {"mean": [0.0]}},
        {"ood": {"mean": [0.0], "precision": [[1.0]]}},
        {"abstention": {"min_confidence": "high"}},
        {"surprise": 1},
        {"temperature": 1e-308},
    ],
)
def test_a_description_that_breaks_a_rule_is_refused(bundle: Path, fields: dict[str, object]) -> None:
    change_or_add(bundle, fields)
    with pytest.raises(BundleError):
        open_bundle(bundle)


def change_or_add(bundle: Path, fields: dict[str, object]) -> None:
    about = json.loads((bundle / "bundle.json").read_text())
    present = {name: value for name, value in fields.items() if name in about}
    change(bundle, **present)
    if present != fields:
        (bundle / "bundle.json").write_text(json.dumps({**about, **fields}))
        write_manifest(bundle)


@pytest.mark.parametrize(
    "name",
    [
        *("../bundle.json", "/etc/hostname", "a\0b", "\ud800", "", ".", "weights"),
        *("./bundle.json", "weights/../bundle.json", "weights//bundle.json"),
    ],
)
def test_a_manifest_that_names_anything_but_a_file_below_the_folder_is_refused(
    bundle: Path, name: str
) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["files"] = {name: {"bytes": 1, "sha256": "0"}, **manifest["files"]}
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=re.escape(f"{name!r} is missing")):
        open_bundle(bundle)


@pytest.mark.parametrize("name", ["pipe", MANIFEST, WEIGHTS, "bundle.json"])
def test_what_is_neither_a_file_nor_a_folder_is_refused_and_not_read(bundle: Path, name: str) -> None:
    (bundle / name).unlink(missing_ok=True)
    os.mkfifo(bundle / name)  # to read it would never end
    with pytest.raises(BundleError, match=name):
        open_bundle(bundle)


def test_a_link_in_a_circle_is_refused(bundle: Path) -> None:
    (bundle / "circle").symlink_to(bundle / "circle")
    with pytest.raises(BundleError, match="a symbolic link: circle"):
        open_bundle(bundle)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="manifest"):
        open_bundle(tmp_path / "nowhere")
