"""The predict.py of a bundle, run as by someone who has no tune_brain."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import change, write_bundle


@pytest.fixture
def bundle(phantoms: Path, tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", phantoms, ("linear",), size=32)


def script(bundle: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run predict.py, isolated from the packages of the checkout."""
    command = [sys.executable, str(bundle / "predict.py"), *map(str, arguments)]
    done = subprocess.run(command, cwd=bundle.parent, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        (flip, "weights/winner-linear-0.safetensors"),
        (flip, "portable/ood.py"),
        (Path.unlink, "portable/model.py"),
        (lambda file: file.write_text("{}"), "manifest.json"),
        (Path.unlink, "manifest.json"),
        (Path.touch, "weights/other.safetensors"),
        (Path.touch, "portable/model.so"),
        (Path.touch, "torch.py"),
    ],
)
def test_a_damaged_bundle_predicts_nothing(bundle: Path, harm: Callable[[Path], object], name: str) -> None:
    harm(bundle / name)
    done = script(bundle, bundle)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("This bundle is damaged or was changed: ")
    assert name == "manifest.json" or name in line


def test_without_arguments_it_prints_its_usage(bundle: Path) -> None:
    done = script(bundle)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Usage: python predict.py IMAGE_OR_FOLDER...\n"


@pytest.mark.slow
def test_folders_are_expanded_and_unreadable_files_reported(bundle: Path, phantoms: Path) -> None:
    images = shutil.copytree(phantoms / "Testing", bundle.parent / "images")
    good = sorted(images.rglob("*.*"))
    (images / "._hidden.jpg").touch()
    (images / "notes.txt").touch()
    (bundle / "weights" / ".DS_Store").touch()
    done = script(bundle, images)
    assert (done.returncode, len(good)) == (0, len(done.stdout.splitlines()))
    assert all(
        re.fullmatch(rf"{re.escape(str(file))} \w+ [\d.]+%( \(.+\))?", line)
        for file, line in zip(good, done.stdout.splitlines(), strict=True)
    )
    assert "never sure" not in done.stderr
    shutil.copyfile(images / "notes.txt", bad := images / "0.PNG")
    change(bundle, abstention={"min_confidence": 2.0})
    done = script(bundle, bundle.parent / "nowhere.jpg", images)
    assert done.returncode == 1
    assert all(line.endswith(")") for line in done.stdout.splitlines())
    assert len(done.stdout.splitlines()) == len(good)
    caution, never, missing, broken = done.stderr.splitlines()
    assert caution.startswith("Not a medical device.")
    assert never == "This bundle is never sure; MODEL_CARD.md says why."
    assert missing.endswith("nowhere.jpg: No such file or directory")
    assert broken == f"{bad}: no JPEG or PNG image that can be read"
    (bundle.parent / "empty").mkdir()
    done = script(bundle, bundle.parent / "empty")
    assert (done.returncode, done.stderr) == (1, "These folders hold no JPEG or PNG image.\n")


@pytest.mark.slow
def test_a_reader_that_stops_early_gets_no_traceback(bundle: Path, phantoms: Path) -> None:
    image = next((phantoms / "Testing").rglob("*.jpg"))
    command = [sys.executable, str(bundle / "predict.py"), str(image)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.close()
        assert process.stderr
        printed = process.stderr.read()
    assert printed.splitlines()[1:] == []
    assert printed.startswith("Not a medical device.")
