"""Export of an evaluated run: its bundles contain the weights that were scored, and a card."""

import hashlib
import json
import shutil
from html import escape
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from tune_brain import runs
from tune_brain.bundle.schema import ABOUT, CARD, About
from tune_brain.cli import app
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.validation import VALIDATED
from tune_brain.export.card import card
from tune_brain.export.write import export
from tune_brain.files import read_json, write_json
from tune_brain.layout import RECORD

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "sartaj"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A committed run, completed with made-up weights and results on validation."""
    folder = shutil.copytree(REFERENCE, tmp_path / "run")
    calibration = read_json(folder / "calibration.json")
    names = calibration["temperatures"]
    abstention = {"min_confidence": 0.9, "error_rate": 0.02, "answered": 0.5, "errors": 0.01, "n": 2}
    calibration["abstention"] = dict.fromkeys(calibration["abstention"], abstention)
    calibration["ood"] = {"mean": [0], "precision": [[1]], "max_distance": 9, "false_rejections": 0.02}
    write_json(folder / "calibration.json", calibration)
    (folder / "weights").mkdir()
    arrays = {
        "labels": np.zeros(2, int),
        "known": np.zeros(2, int),
        "features": np.zeros((2, 18)),
        "known_features": np.zeros((2, 18)),
    }
    for name in names:
        (folder / "weights" / f"{name}.safetensors").write_bytes(name.encode())
        arrays[f"logits/{name}"] = np.zeros((2, 4), np.float32)
        arrays[f"embeddings/{name}"] = np.zeros((2, 3), np.float16)
        arrays[f"weights/{name}"] = np.array(hashlib.sha256(name.encode()).hexdigest())
    np.savez(folder / VALIDATED, **arrays)
    return folder


def test_a_bundle_contains_the_scored_weights_and_a_card(run: Path, tmp_path: Path) -> None:
    bundles = export(run, tmp_path / "bundles")
    assert {path.name for path in bundles.iterdir()} == {
        *("configurations.json", "linear", "cnn", "resnet18", "ensemble")
    }
    content = (bundles / "cnn" / "weights" / "winner-cnn-0.safetensors").read_bytes()
    assert content == b"winner-cnn-0"
    assert len(list((bundles / "ensemble" / "weights").iterdir())) == 6
    text = (bundles / "ensemble" / CARD).read_text()
    assert "accuracy on those answered | 84.3% | 35.1% |" in text
    assert "ONNX" not in text
    assert "has no score, and nothing is known about it on\nunseen images." in text


def test_nothing_that_is_exported_names_a_folder_of_this_machine(run: Path, tmp_path: Path) -> None:
    private = {"data": Path("/clinic/images"), "weights": "/clinic/own.safetensors"}
    for winner in runs.read_winners(runs.open_run(run)).values():
        runs.write_winner(run, winner.model_copy(update=private))
    bundles = export(run, tmp_path / "bundles")
    files = [path for path in bundles.rglob("*") if path.is_file()]
    for path in files:
        content = path.read_bytes()
        assert b"clinic" not in content, path
        assert str(tmp_path).encode() not in content, path
    assert len(files) > 40
    exported = bundles / "cnn" / "configurations" / "cnn.toml"
    original = runs.read_winner(run / "winners" / "cnn.toml")
    without = original.model_copy(update={"data": None, "weights": "own.safetensors"})
    assert runs.read_winner(exported) == without
    assert read_json(bundles / "configurations.json")["cnn"] == without.model_dump(
        mode="json", exclude={"data"}
    )
    command = "tune-brain train cnn.toml --to FOLDER --data FOLDER_OF_IMAGES --weights FILE_OF_WEIGHTS"
    assert exported.read_text().splitlines()[0] == f"# Train it again with: {command}"


def test_an_edited_winner_is_not_exported(run: Path, tmp_path: Path) -> None:
    winner = runs.read_winner(run / "winners" / "cnn.toml")
    for edited in (
        {"values": {**winner.values, "max_lr": 0.5}},
        {"training": winner.training.model_copy(update={"image_size": 96})},
        {"trial": 10_000},
        {"score": 0.99},
        {"again": (0.9,)},
    ):
        runs.write_winner(run, winner.model_copy(update=edited))
        with pytest.raises(RunFolderError, match=rf"cnn\.toml differs in: {next(iter(edited))};"):
            export(run, tmp_path / "bundles")
        assert not (tmp_path / "bundles").exists()


def test_a_winner_without_scores_gets_no_bundle_and_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = read_json(run / "scores.json")
    write_json(run / "scores.json", {name: scores[name] for name in scores if name != "linear"})
    bundles = export(run, tmp_path / "bundles")
    assert not (bundles / "linear").exists()
    assert capsys.readouterr().err == "linear: no bundle, since all seed runs of its winner diverged\n"


def test_weights_other_than_those_scored_are_not_exported(run: Path, tmp_path: Path) -> None:
    (run / "weights" / "winner-cnn-0.safetensors").write_bytes(b"trained again")
    with pytest.raises(RunFolderError, match=r"winner-cnn-0\.safetensors does not have the SHA-256"):
        export(run, tmp_path / "bundles")


def test_a_run_without_its_calibration_is_not_exported(run: Path, tmp_path: Path) -> None:
    (run / "calibration.json").unlink()
    with pytest.raises(RunFolderError, match=r"calibration\.json"):
        export(run, tmp_path / "bundles")


def test_before_evaluation_configurations_are_exported_and_the_next_command_is_named(
    run: Path, tmp_path: Path
) -> None:
    (run / "scores.json").unlink()
    done = CliRunner().invoke(app, ["export", str(run), "--to", str(tmp_path / "out")])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["configurations.json"]
    assert f"tune-brain evaluate {run}" in done.stderr
    with pytest.raises(RunFolderError, match="tune-brain evaluate"):
        export(run, tmp_path / "networks", onnx=True)


def test_winners_of_an_unfinished_search_are_not_exported_unless_the_run_is_evaluated(
    run: Path, tmp_path: Path
) -> None:
    """As after an older copy brought back winners from before the search was extended."""
    config = (run / "run.toml").read_text()
    (run / "run.toml").write_text(config.replace("configs = 12", "configs = 13"))
    command = ["export", str(run), "--to", str(tmp_path / "out")]
    assert CliRunner().invoke(app, command).exit_code == 0
    shutil.rmtree(tmp_path / "out")
    (run / "scores.json").unlink()
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, RunFolderError)
    assert f"tune-brain resume {run}" in str(refused.exception)
    assert not (tmp_path / "out").exists()


def test_export_and_card_say_so_where_no_confidence_suffices_for_an_answer(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calibration = read_json(run / "calibration.json")
    calibration["abstention"]["cnn"] |= {"min_confidence": 2.0, "answered": 0.0, "errors": None}
    write_json(run / "calibration.json", calibration)
    bundles = export(run, tmp_path / "bundles")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cnn: This bundle is never sure: its 2 validation images cannot support")
    assert "cannot support answers of which at most 2.0% are wrong" in (bundles / "cnn" / CARD).read_text()
    assert "Its highest probability is below 0.900." in (bundles / "linear" / CARD).read_text()


def test_a_card_shows_any_class_name_literally(run: Path, tmp_path: Path) -> None:
    name = "a|b <script>alert(1)</script> `c` *d* _e_ \\ &lt; [f](g)"
    about = (export(run, tmp_path / "bundles") / "cnn" / ABOUT).read_text().replace("glioma_tumor", "GLIOMA")
    text = card(About.model_validate_json(about.replace('"GLIOMA"', json.dumps(name))), onnx=False)
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert f"<th>{escape(name, quote=False)}</th>\n<th>meningioma_tumor</th>" in rendered
    assert f"<td>{escape(name, quote=False)}</td>\n<td>" in rendered
    assert f"distinguishes {escape(name, quote=False)}, meningioma_tumor," in rendered


def test_a_card_says_where_neighbouring_slices_were_parted(run: Path, tmp_path: Path) -> None:
    record = read_json(run / RECORD)
    parted = {**record["data"], "parted": ["glioma_tumor"]}
    write_json(run / RECORD, {**record, "data": parted})
    text = (export(run, tmp_path / "bundles") / "cnn" / CARD).read_text()
    assert "\nglioma\\_tumor: too few images for blocks of 20 neighbouring files" in text


def test_a_card_says_what_an_allowed_leak_does_to_the_scores(run: Path, tmp_path: Path) -> None:
    assert "allow-leak" not in (export(run, tmp_path / "without") / "cnn" / CARD).read_text()
    record = read_json(run / RECORD)
    write_json(run / RECORD, {**record, "data": {**record["data"], "allowed_leak": 1234}})
    folder = export(run, tmp_path / "bundles") / "cnn"
    assert read_json(folder / ABOUT)["data"]["allowed_leak"] == 1234
    assert (
        "\nThe test leaks, as `--allow-leak` permitted: 1,234 images outside" in (folder / CARD).read_text()
    )


def test_a_card_states_the_shares_of_validation_that_were_measured(run: Path, tmp_path: Path) -> None:
    calibration = read_json(run / "calibration.json")
    calibration["ood"]["false_rejections"] = 0.013
    write_json(run / "calibration.json", calibration)
    text = (export(run, tmp_path / "bundles") / "cnn" / CARD).read_text()
    assert "\n  images. 1.3% of the validation images are." in text
    assert "this threshold and the limit below it answers 50.0% of the\n  validation images (n = 2)" in text


@pytest.mark.parametrize(("images", "unlisted"), [(0, 3264), (4, 3260), (3264, 0)])
def test_a_card_says_of_which_images_the_patients_were_known(
    run: Path, tmp_path: Path, images: int, unlisted: int
) -> None:
    record = read_json(run / RECORD)
    patients = {"known": 2, "images": images, "unlisted": unlisted, "across": 1}
    write_json(run / RECORD, {**record, "data": {**record["data"], "patients": patients}})
    text = (export(run, tmp_path / "bundles") / "cnn" / CARD).read_text()
    assert ("among the training or validation images too: 1." in text) == (images > 0)
    assert ("patients.csv names 2 patients" in text) == (images > 0)
    assert ("so it is an\nupper bound for new patients." in text) == (unlisted > 0)
    assert ("The patients of all images were not known" in text) == (images == 0)


@pytest.mark.parametrize(("name", "ensemble"), [("cnn", False), ("ensemble", True)])
def test_a_card_says_what_onnx_files_lack(run: Path, tmp_path: Path, name: str, ensemble: bool) -> None:
    folder = export(run, tmp_path / "bundles") / name
    about = About.model_validate(read_json(folder / ABOUT))
    text = card(about, onnx=True)
    assert "`logits` and `probabilities`" in text
    assert "two rules for *unsure*" in text
    assert (f"ensemble's own temperature, {about.temperature:.4f}" in text) == ensemble
