"""The architecture: what modules may import, where heavy libraries may be imported, what imports may do."""

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "tune_brain"

# A room, a module or package of tune_brain, imports only from rooms on lines above its own.
RANKS = (
    ("text", "layout", "array_types"),
    ("errors", "portable"),
    ("files", "seeds", "config", "interrupts"),
    ("records", "lock", "progress"),
    ("space",),
    ("runs", "copies"),
    ("data",),
    ("models", "explain"),
    ("weights", "bundle"),
    ("train",),
    ("slots", "cluster"),
    ("compute",),
    ("search", "evaluate"),
    ("export",),
    ("report", "serve"),
    ("stages",),
    ("cli",),
)

# The rooms or modules that may import each heavy library; for ray.tune, the entry of ray holds as well.
ROOMS_OF = {
    "torch": {
        *("data.augment", "data.batches", "models", "weights", "train", "compute"),
        *("search", "evaluate", "export", "serve", "stages", "explain", "portable"),
    },
    "torchvision": {"portable", "weights"},
    "safetensors": {"weights", "search", "evaluate", "export", "stages", "bundle", "portable"},
    "ray": {"slots", "cluster", "compute", "search", "serve.deployment"},
    "ray.tune": {"search"},
    "optuna": {"search"},
    "plotly": {"report"},
    "pandas": {"report"},
    "sklearn": {"data", "evaluate", "search.surrogate"},
    "scipy": {"data", "evaluate", "search.sampler", "search.surrogate"},
    "PIL": {"data", "serve", "portable"},
    "fastapi": {"serve"},
    "starlette": {"report", "serve"},
    "uvicorn": {"report", "serve"},
    "pydicom": {"serve.volumes"},
    "nibabel": {"serve.volumes"},
    "onnxruntime": {"export.onnx"},
    "onnxscript": {"export.onnx"},
    "fsspec": {"copies"},
    "opendatasets": {"data.download"},
    "kaggle": {"data.download"},
}

# Pure modules, which must not import libraries that others in their room may import.
NEVER = {
    "search.ladder": {"ray", "optuna", "torch"},
    "search.convergence": {"ray", "optuna", "torch"},
    "search.ledger": {"ray", "optuna", "torch"},
    # It imports torch, which Optuna's Gaussian process uses, to limit its threads.
    "search.sampler": {"ray"},
    "evaluate.statistics": {"torch"},
    "evaluate.calibration": {"torch"},
    "portable.ood": {"torch"},
    "portable.probabilities": {"torch"},
    "evaluate.winners": {"torch"},
}

# Who may name `.sealed` or the path "sealed" (a note to the report), and who may import evaluate.sealed.
SEALED = {"data.prepare", "evaluate.sealed", "report"}
OPENING = {"evaluate.scores", "evaluate.ensemble", "stages.evaluate", "stages.verify"}

# The only libraries that code shipped in bundles may import.
PORTABLE = {"torch", "torchvision", "numpy", "PIL", "safetensors"}

# Libraries that a fresh interpreter must not have loaded after an import, directly or through other modules.
UNLOADED_AFTER = {
    f"{PACKAGE}.cli": {
        *("torch", "torchvision", "ray", "optuna", "plotly", "pandas", "sklearn", "scipy", "starlette"),
    },
    # These are imported while Ray starts.
    f"{PACKAGE}.stages.search": {"torch", "torchvision", "sklearn", "plotly"},
    f"{PACKAGE}.report": {"torch", "torchvision", "ray", "optuna"},
    # Every worker of a search waits for this import.
    f"{PACKAGE}.search.trainable": {"optuna", "plotly", "sklearn", "scipy", "typer", "torchvision"},
    f"{PACKAGE}.serve.app": {"ray", "optuna", "plotly", "pandas", "sklearn", "scipy", "matplotlib"},
    f"{PACKAGE}.data.prepare": {"torch", "torchvision", "ray", "optuna", "plotly", "pandas"},
}


def name_of(file: Path) -> str:
    """`tune_brain.data.split` for tune_brain/data/split.py."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.Module, package: list[str]) -> Iterator[str]:
    """Every dotted name that a module imports, anywhere in it; `from a import b` yields a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_of(name: str) -> set[str]:
    """The dotted names that a module of the package imports."""
    here = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    return set(imports(TREES[name], here.split(".")))


def is_or_under(name: str, places: Iterable[str]) -> bool:
    """Whether a dotted name equals one of the places or lies inside one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def inside(name: str) -> str:
    """A module's name without the package's: `data.split`."""
    return name.removeprefix(PACKAGE).removeprefix(".")


def room_of(name: str) -> str:
    """The room to which a module belongs."""
    return inside(name).split(".")[0]


FILES = {name_of(file): file for file in sorted((ROOT / PACKAGE).rglob("*.py"))}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in FILES.items()}
RANK = {room: number for number, rooms in enumerate(RANKS) for room in rooms}
PAIRS = [(name, target) for name in FILES for target in sorted(imports_of(name))]


def listed() -> list[Path]:
    """The files that git tracks, or would track if they were added."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def run_python(code: str, folder: Path) -> str:
    """Run code in a fresh interpreter, in an empty folder that must stay empty; returns its output."""
    code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == [], "an import writes files"
    return done.stdout


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import ray.tune as t", {"ray.tune"}),
        ("from ray import tune", {"ray.tune"}),
        ("def f():\n    import torch", {"torch"}),
        ("from . import split", {"tune_brain.data.split"}),
        ("from ..errors import DataError", {"tune_brain.errors.DataError"}),
    ],
)
def test_every_form_of_import_is_detected(code: str, found: set[str]) -> None:
    assert set(imports(ast.parse(code), ["tune_brain", "data"])) == found


def test_every_module_has_a_rank() -> None:
    assert {room_of(name) for name in FILES if name != PACKAGE} <= RANK.keys()
    assert imports_of(PACKAGE) == set()


def test_modules_import_only_from_lower_ranks() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, target in PAIRS
        if is_or_under(target, [PACKAGE]) and target != f"{PACKAGE}.__version__"
        if room_of(name) != room_of(target) and RANK[room_of(name)] <= RANK[room_of(target)]
    ]
    assert wrong == []


def test_heavy_libraries_are_imported_only_where_allowed() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, target in PAIRS
        if any(
            is_or_under(target, [library]) and not is_or_under(inside(name), rooms)
            for library, rooms in ROOMS_OF.items()
        )
        or is_or_under(target, NEVER.get(inside(name), []))
    ]
    assert wrong == []


def test_code_shipped_in_bundles_imports_only_the_promised_libraries() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, target in PAIRS
        if room_of(name) == "portable"
        and not is_or_under(target, [*PORTABLE, f"{PACKAGE}.portable"])
        and target.split(".")[0] not in sys.stdlib_module_names
    ]
    assert wrong == []


def test_only_allowed_modules_access_the_sealed_test() -> None:
    reaching = {
        inside(name)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if "sealed" in str(getattr(node, "attr", getattr(node, "value", ""))).split("/")
    }
    assert [name for name in reaching if not is_or_under(name, SEALED)] == []
    opening = {inside(name) for name, target in PAIRS if is_or_under(target, [f"{PACKAGE}.evaluate.sealed"])}
    assert opening <= OPENING


def test_public_names_have_docstrings() -> None:
    parts = [
        (f"{name}.{part.name}", part)
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef)
        for part in node.body
        if isinstance(part, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if not part.name.startswith("_")
    ]
    assert [name for name, part in [*TREES.items(), *parts] if not ast.get_docstring(part)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", UNLOADED_AFTER)
def test_imports_do_not_load_heavy_libraries(name: str, tmp_path: Path) -> None:
    modules = [module for module in FILES if is_or_under(module, [name])]
    assert modules, f"there is no {name}"
    code = f"import {', '.join(modules)}\nprint(*sys.modules)"
    assert UNLOADED_AFTER[name] & set(run_python(code, tmp_path).split()) == set()


@pytest.mark.slow
def test_importing_every_module_has_no_side_effects(tmp_path: Path) -> None:
    code = f"""
import multiprocessing, signal
import {", ".join(FILES)}
import ray
untouched = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
print(ray.is_initialized(), multiprocessing.active_children(), untouched)
"""
    assert run_python(code, tmp_path) == "False [] True\n"


def test_git_ignores_no_module_and_no_test() -> None:
    on_disk = {*FILES.values(), *(ROOT / "tests").rglob("*.py")}
    assert sorted(str(file.relative_to(ROOT)) for file in on_disk - set(listed())) == []


def test_no_file_is_called_utils() -> None:
    assert [file for file in listed() if file.name == "utils.py"] == []


def test_no_python_file_exceeds_300_lines() -> None:
    files = [file for file in listed() if file.suffix == ".py"]
    lengths = {str(file): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert {re.split(r"[^\w-]", name)[0] for name in asked} - {project["name"]} <= set(pinned)


MACHINE_PATH = re.compile(rb"(?<![\w.~})-])/(?:home|Users|root|work|opt|farm)(?:/[\w.]|(?![\w/-]))")


@pytest.mark.parametrize(
    "path", ["home/ada/mri", "root", "root/.cache", "work/data", "opt/wheels", "Users/ada"]
)
def test_machine_paths_are_detected(path: str) -> None:
    assert MACHINE_PATH.search(f"see '/{path}'.".encode())
    assert MACHINE_PATH.search(f"cd /{path}\n".encode())
    assert not MACHINE_PATH.search(f"see ../{path} and $HOME/{path} and http://host/{path}".encode())


def test_no_file_contains_a_machine_path() -> None:
    found = {str(file): MACHINE_PATH.search(file.read_bytes()) for file in listed()}
    assert {name: match.group().decode() for name, match in found.items() if match} == {}
