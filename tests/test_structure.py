"""The plan of the rooms: who may import whom, which heavy library stands where, what an import may do."""

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

# Imports point up this list only; rooms on one line are siblings, and neither imports the other.
RANKS = (
    ("text",),
    ("errors", "portable"),
    ("config", "seeds", "progress", "parse", "interrupts"),
    ("records", "lock"),
    ("space",),
    ("runs", "copies"),
    ("data",),
    ("models", "explain"),
    ("weights", "bundle"),
    ("train",),
    ("slots",),
    ("compute",),
    ("search", "evaluate"),
    ("export",),
    ("report", "serve"),
    ("stages", "options"),
    ("cli",),
)

# Who may import a heavy library, by room or by module; for ray.tune both its own entry and that of ray count.
ROOMS_OF = {
    "torch": {
        *("data.augment", "data.batches", "models", "weights", "train", "compute"),
        *("search", "evaluate", "export", "serve", "stages", "explain", "portable"),
    },
    "torchvision": {"portable", "weights"},
    "safetensors": {"weights", "search", "evaluate", "export", "stages", "bundle", "portable"},
    "ray": {"slots", "compute", "search", "serve.deployment"},
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
    "pydicom": {"serve.images"},
    "nibabel": {"serve.images"},
    "onnxruntime": {"export.onnx"},
    "onnxscript": {"export.onnx"},
    "fsspec": {"copies"},
    "opendatasets": {"data.download"},
    "kaggle": {"data.download"},
}

# Pure modules of rooms that may otherwise import these.
NEVER = {
    "search.ladder": {"ray", "optuna", "torch"},
    "search.convergence": {"ray", "optuna", "torch"},
    "search.ledger": {"ray", "optuna", "torch"},
    # torch is loaded there for Optuna's Gaussian process, whose threads are then told.
    "search.sampler": {"ray"},
    "evaluate.statistics": {"torch"},
    "evaluate.calibration": {"torch"},
    "portable.ood": {"torch"},
    "portable.probabilities": {"torch"},
    "evaluate.winners": {"torch"},
}

# Who may say `.sealed` (to the report it is the note on the opening), and who may import evaluate.sealed.
SEALED = {"data.prepare", "evaluate.sealed", "report"}
OPENING = {"evaluate.scores", "evaluate.ensemble", "stages.evaluate", "stages.verify"}

# What a bundle carries with it imports nothing else.
PORTABLE = {"torch", "torchvision", "numpy", "PIL", "safetensors"}

# What a fresh interpreter must not have loaded after an import, be it through other modules.
UNLOADED_AFTER = {
    f"{PACKAGE}.cli": {
        *("torch", "torchvision", "ray", "optuna", "plotly", "pandas", "sklearn", "scipy", "starlette"),
    },
    # A search waits for these beside Ray's start.
    f"{PACKAGE}.stages.search": {"torch", "torchvision", "sklearn", "plotly"},
    f"{PACKAGE}.report": {"torch", "torchvision", "ray", "optuna"},
    # What each worker of a search waits for.
    f"{PACKAGE}.search.trainable": {"optuna", "plotly", "sklearn", "scipy", "typer", "torchvision"},
    f"{PACKAGE}.serve.app": {"ray", "optuna", "plotly", "pandas", "sklearn", "scipy", "matplotlib"},
    f"{PACKAGE}.data.prepare": {"torch", "torchvision", "ray", "optuna", "plotly", "pandas"},
}


def name_of(file: Path) -> str:
    """`tune_brain.data.split` for tune_brain/data/split.py."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.Module, package: list[str]) -> Iterator[str]:
    """Every dotted name that a module imports, anywhere in it; `from a import b` gives a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_of(name: str) -> set[str]:
    """What a module of the package imports."""
    here = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    return set(imports(TREES[name], here.split(".")))


def is_or_under(name: str, places: Iterable[str]) -> bool:
    """Whether a dotted name is one of the places or stands inside one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def inside(name: str) -> str:
    """A module's name without the package's: `data.split`."""
    return name.removeprefix(PACKAGE).removeprefix(".")


def room_of(name: str) -> str:
    """The room that a module stands in, or is."""
    return inside(name).split(".")[0]


FILES = {name_of(file): file for file in sorted((ROOT / PACKAGE).rglob("*.py"))}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in FILES.items()}
RANK = {room: number for number, rooms in enumerate(RANKS) for room in rooms}
PAIRS = [(name, target) for name in FILES for target in sorted(imports_of(name))]


def listed() -> list[Path]:
    """The files that are in git or would be."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def run_python(code: str, folder: Path) -> str:
    """What a fresh interpreter prints, started in an empty folder that must stay empty."""
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
def test_every_form_of_import_is_seen(code: str, found: set[str]) -> None:
    assert set(imports(ast.parse(code), ["tune_brain", "data"])) == found


def test_every_module_has_its_place_in_the_plan() -> None:
    assert {room_of(name) for name in FILES if name != PACKAGE} <= RANK.keys()
    assert imports_of(PACKAGE) == set()


def test_imports_point_up_the_plan_only() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, target in PAIRS
        if is_or_under(target, [PACKAGE]) and target != f"{PACKAGE}.__version__"
        if room_of(name) != room_of(target) and RANK[room_of(name)] <= RANK[room_of(target)]
    ]
    assert wrong == []


def test_heavy_libraries_stay_in_their_rooms() -> None:
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


def test_what_a_bundle_carries_imports_the_few_libraries_that_it_promises() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, target in PAIRS
        if room_of(name) == "portable"
        and not is_or_under(target, [*PORTABLE, f"{PACKAGE}.portable"])
        and target.split(".")[0] not in sys.stdlib_module_names
    ]
    assert wrong == []


def test_one_module_reaches_for_the_sealed_test() -> None:
    reaching = [
        name
        for name, tree in TREES.items()
        if any(isinstance(node, ast.Attribute) and node.attr == "sealed" for node in ast.walk(tree))
        and not is_or_under(inside(name), SEALED)
    ]
    assert reaching == []
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
def test_an_import_leaves_heavy_libraries_alone(name: str, tmp_path: Path) -> None:
    modules = [module for module in FILES if is_or_under(module, [name])]
    assert modules, f"there is no {name}"
    code = f"import {', '.join(modules)}\nprint(*sys.modules)"
    assert UNLOADED_AFTER[name] & set(run_python(code, tmp_path).split()) == set()


@pytest.mark.slow
def test_every_module_imports_and_nothing_happens(tmp_path: Path) -> None:
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


def test_no_file_is_long() -> None:
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
def test_a_machine_path_is_seen(path: str) -> None:
    assert MACHINE_PATH.search(f"see '/{path}'.".encode())
    assert MACHINE_PATH.search(f"cd /{path}\n".encode())
    assert not MACHINE_PATH.search(f"see ../{path} and $HOME/{path} and http://host/{path}".encode())


def test_no_file_holds_the_path_of_a_machine() -> None:
    found = {str(file): MACHINE_PATH.search(file.read_bytes()) for file in listed()}
    assert {name: match.group().decode() for name, match in found.items() if match} == {}
