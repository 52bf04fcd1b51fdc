"""The whole pipeline through the command line, on real Ray and generated images."""

import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from program import PROGRAM
from safetensors.numpy import load_file

from tune_brain.config import RunConfig, read_toml
from tune_brain.data.prepare import Prepared, prepare
from tune_brain.evaluate import validation
from tune_brain.progress import Progress
from tune_brain.records import EpochRow, SeedRow, TrialRow, read, trials_of
from tune_brain.runs import read_winner
from tune_brain.slots import Slots
from tune_brain.stages import evaluate as stage
from tune_brain.stages.common import images

pytestmark = pytest.mark.slow

SMALL = (
    *("--arch", "linear", "--arch", "cnn", "--configs", "3", "--ladder", "1,2", "--image-size", "32"),
    *("--concurrency", "1", "--weights", "none", "--precision", "bf16"),
)


@pytest.fixture(scope="module")
def finished(command, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run, from images to bundles."""
    folder = tmp_path_factory.mktemp("road") / "run"
    done = command("run", "--data", phantoms, "--out", folder, "--seeds", 2, *SMALL)
    for line in done.stdout.splitlines()[-4:-1]:
        assert Path(line.split(maxsplit=1)[1]).exists()
    assert done.stdout.splitlines()[-1] == f"open it    tune-brain serve {folder / 'export' / 'ensemble'}"
    return folder


def trials(folder: Path) -> list[dict[str, Any]]:
    """The latest row of each trial, without when and how fast it ran."""
    timing = {"started", "seconds", "worker"}
    return [row.model_dump(exclude=timing) for row in trials_of(folder)]


def epochs(folder: Path) -> list[dict[str, Any]]:
    return [row.model_dump(exclude={"seconds"}) for row in read(folder / "epochs.jsonl", EpochRow)]


def test_every_trial_and_epoch_has_its_row(finished: Path) -> None:
    rows = trials_of(finished)
    assert {row.state for row in rows} == {"completed"}
    for arch in ("linear", "cnn"):
        tried = {row.configuration for row in rows if row.arch == arch}
        assert tried == {0, 1, 2, 3}
    scores = {(row["trial"], row["epoch"]): row["val_macro_f1"] for row in epochs(finished)}
    assert len(scores) == sum(row.epochs for row in rows)
    assert all(scores[row.trial, row.epochs] == row.score for row in rows)


def test_the_images_are_audited_first(finished: Path) -> None:
    lines = [line.split("  ", 1)[1] for line in (finished / "run.log").read_text().splitlines()]
    assert [line.startswith("audit: ") for line in lines[:4]] == [True, True, True, False]
    assert "test images" in lines[0]


def test_an_allowed_leak_is_noted_in_every_score(
    finished: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(cache))
    folder = Path(shutil.copytree(finished, tmp_path / "run"))

    def leaking(config: RunConfig, progress: Progress) -> Prepared:
        prepared = images(config, progress)
        return replace(prepared, summary=prepared.summary | {"allowed_leak": 7})

    monkeypatch.setattr(stage, "images", leaking)
    session = SimpleNamespace(slots=lambda _: Slots(count=1, gpus=0))
    monkeypatch.setattr(stage.compute, "session", lambda _: nullcontext(session))
    monkeypatch.setattr(stage, "train_all", lambda _, planned, *__: planned)
    monkeypatch.setattr(stage, "validate", lambda run, *_: validation.read(run))
    stage.evaluate(folder)
    scores = json.loads((folder / "scores.json").read_text())
    assert [part["allowed_leak"] for both in scores.values() for part in both.values()] == [7] * 6
    references = json.loads((folder / "comparisons.json").read_text())["references"]
    assert references["majority"]["unseen"]["allowed_leak"] == 7
    assert "allowed_leak" not in (finished / "scores.json").read_text()


def test_the_winner_is_the_finalist_with_the_best_mean(finished: Path) -> None:
    for arch in ("linear", "cnn"):
        winner = read_winner(finished / "winners" / f"{arch}.toml")
        rows = [row for row in trials_of(finished) if row.arch == arch]
        full = [row for row in rows if row.epochs == 2]
        first, again = ({row.configuration: row.score for row in full if row.repeat == n} for n in (0, 1))
        assert set(again) == set(sorted(first, key=lambda one: (-first[one], one))[:3])
        assert (winner.score, winner.again) == (first[winner.configuration], (again[winner.configuration],))
        assert winner.score + winner.again[0] == max(first[one] + again[one] for one in again)
        assert winner.training.hyperparameters.max_lr == winner.values["max_lr"]


def test_scores_are_official_and_unseen_with_n_spread_and_interval(finished: Path) -> None:
    scores = json.loads((finished / "scores.json").read_text())
    assert list(scores) == ["linear", "cnn", "ensemble"]
    for both in scores.values():
        assert both["official"]["n"] == 20
        assert 0 < both["unseen"]["n"] < 20
        accuracy = both["official"]["accuracy"]
        assert accuracy.keys() == {"mean", "std", "low", "high"}
        assert 0 <= accuracy["low"] <= accuracy["mean"] <= accuracy["high"] <= 1
        assert sum(map(sum, both["official"]["confusion"])) == pytest.approx(20)
        assert 0 <= both["unseen"]["calibrated"]["calibration_error"]["mean"] <= 1
        assert 0 <= both["unseen"]["foreign"] <= 1
    assert [scores[name]["official"]["seeds"] for name in scores] == [2, 2, 1]
    against = json.loads((finished / "comparisons.json").read_text())
    assert against["references"].keys() == {"majority", "nearest_neighbour"}
    assert [row["part"] for row in against["mcnemar"]] == ["official", "unseen"]
    assert all("neighbour" in against["verdicts"][arch] for arch in ("linear", "cnn"))
    assert against["ensemble"]["parts"]["unseen"].keys() > {"groups_a", "groups_b", "p", "macro_f1"}
    assert against["ensemble"]["best_single"] in against["verdicts"]["ensemble"]


def test_scores_follow_from_the_stored_predictions(finished: Path) -> None:
    scores = json.loads((finished / "scores.json").read_text())
    with np.load(finished / "predictions.npz") as file:
        right = [
            (file[f"probabilities/winner-cnn-{seed}"].argmax(1) == file["labels"])[file["unseen"]].mean()
            for seed in (0, 1)
        ]
    assert scores["cnn"]["unseen"]["accuracy"]["mean"] == pytest.approx(np.mean(right))
    assert scores["cnn"]["unseen"]["accuracy"]["std"] == pytest.approx(np.std(right, ddof=1))


def test_no_seed_run_has_the_seed_of_a_trial(finished: Path) -> None:
    searched = {row.seed for row in read(finished / "trials.jsonl", TrialRow)}
    seeds = [row.seed for row in read(finished / "seed_runs.jsonl", SeedRow)]
    assert len(set(seeds)) == len(seeds) >= 4
    assert searched.isdisjoint(seeds)


def test_the_record_and_the_log_describe_the_run(finished: Path) -> None:
    record = json.loads((finished / "record.json").read_text())
    assert record["weights"] == "random weights"
    assert record["precision"] == {"linear": "bf16", "cnn": "bf16"}
    assert record["packages"]["ray"]
    assert record["data"]["counts"]["test"]
    log = (finished / "run.log").read_text()
    assert re.search(r"cnn +trial \d+ +#3", log)
    assert "opening the sealed test" in log


def test_a_search_repeats_bit_for_bit_and_cannot_reach_the_sealed_test(
    finished: Path, command, tmp_path: Path, phantoms: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_BRAIN_CACHE", str(cache))
    sealed = prepare(phantoms, image_size=32, seed=0).sealed
    contents = {file: file.read_bytes() for file in sealed.iterdir()}
    for file, content in contents.items():
        file.write_bytes(b"!" * len(content))  # unreadable
    try:
        command("search", "--config", finished / "run.toml", "--out", tmp_path / "again")
    finally:
        for file, content in contents.items():
            file.write_bytes(content)
    assert trials(tmp_path / "again") == trials(finished)
    assert epochs(tmp_path / "again") == epochs(finished)
    assert not (tmp_path / "again" / "sealed.json").exists()


def test_a_winner_is_retrained_bit_for_bit(finished: Path, command, tmp_path: Path) -> None:
    done = command("train", finished / "winners" / "cnn.toml", "--to", tmp_path / "cnn")
    assert done.stdout.strip() == str(tmp_path / "cnn")
    assert "as in the search" in done.stderr
    winner = read_winner(finished / "winners" / "cnn.toml")
    searched = [row for row in epochs(finished) if row["trial"] == winner.trial]
    assert epochs(tmp_path / "cnn") == searched
    assert load_file(tmp_path / "cnn" / "weights.safetensors")


def test_the_sealed_test_is_opened_once(finished: Path, command) -> None:
    before = {
        name: (finished / name).read_bytes() for name in ("sealed.json", "predictions.npz", "scores.json")
    }
    command("evaluate", finished, "--seeds", 2)
    assert {name: (finished / name).read_bytes() for name in before} == before
    refused = command("evaluate", finished, "--seeds", 3, code=6)
    assert "opened only once" in refused.stderr
    assert {name: (finished / name).read_bytes() for name in before} == before


def test_changed_images_are_refused(finished: Path, command, phantoms: Path, tmp_path: Path) -> None:
    changed, copy = tmp_path / "changed", tmp_path / "run"
    shutil.copytree(phantoms, changed)
    shutil.copytree(finished, copy)
    next((changed / "Training" / "glioma").iterdir()).unlink()
    text = (copy / "run.toml").read_text().replace(str(phantoms), str(changed))
    (copy / "run.toml").write_text(text)
    assert "digest" in command("resume", copy, code=3).stderr


def test_exported_bundles_are_verified_and_studies_written(
    finished: Path, command, tmp_path: Path, phantoms: Path
) -> None:
    # An existing folder, like a mount point, which cannot be replaced by a rename.
    models = tmp_path / "models"
    models.mkdir()
    mounted = models.stat().st_ino
    command("export", finished, "--to", models, "--optuna", tmp_path / "studies.log")
    best = json.loads((models / "configurations.json").read_text())
    assert best["cnn"]["values"].keys() == {"max_lr", "weight_decay", "grad_clip"}
    assert {path.name for path in models.iterdir()} == {"configurations.json", "cnn", "ensemble", "linear"}
    assert models.stat().st_ino == mounted
    for name in ("cnn", "ensemble"):
        assert "images are those of its run" in command("verify", models / name, "--data", phantoms).stdout
        assert json.loads((models / name / "bundle.json").read_text())["scores"]["unseen"]["n"] > 0
        assert "Not a medical device" in (models / name / "MODEL_CARD.md").read_text()
    assert (tmp_path / "studies.log").stat().st_size > 0
    assert "empty folder" in command("export", finished, "--to", models, code=2).stderr
    weights = shutil.copytree(finished, tmp_path / "copy") / "weights"
    shutil.copyfile(weights / "winner-cnn-1.safetensors", weights / "winner-cnn-0.safetensors")
    assert "the SHA-256" in command("export", weights.parent, "--to", tmp_path / "new", code=5).stderr


def test_a_search_resumed_after_ctrl_c_ends_as_an_uninterrupted_one(
    finished: Path, command, environment: dict[str, str], phantoms: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with subprocess.Popen(
        [*PROGRAM, "search", "--data", str(phantoms), "--out", str(folder), *SMALL],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stderr is not None
        output = ""
        while "trial 1 " not in output:
            output += (line := running.stderr.readline())
            assert line, output
        os.killpg(running.pid, signal.SIGINT)
        output += running.stderr.read()
    assert running.returncode == 130, output
    assert "Traceback" not in output
    assert f"tune-brain resume {folder}" in output
    assert len(epochs(folder)) < len(epochs(finished))
    command("resume", folder)
    assert trials(folder) == trials(finished)
    assert epochs(folder) == epochs(finished)


def test_a_search_cannot_be_extended_once_its_test_is_open(finished: Path, command) -> None:
    assert "can no longer be" in command("extend", finished, "--configs", 9, code=6).stderr
    assert "It is evaluated" in command("status", finished).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("search", "--data", "nowhere"), 3, "nowhere"),
        (("search", "--arch", "vgg"), 2, "vgg"),
        (("search", "--ladder", "6,3"), 2, "ladder"),
        (("search", "--ladder", "3,x"), 2, "3,x"),
        (("search", "--ladder", "3,6", "--epochs", "12"), 2, "--epochs"),
        (("search", "--time-budget", "soon"), 2, "soon"),
        (("search", "--image-size", "4"), 2, "image_size"),
        (("search", "--spaces", "nowhere"), 2, "nowhere"),
        (("search", "--image-size", "16", "--precision", "bf16"), 2, "bf16 needs"),
        (("search", "--weights", "nowhere.pth"), 4, "nowhere.pth"),
        (("search", "--config", "nowhere.toml"), 2, "nowhere.toml"),
        (("search", "--colour", "red"), 2, "--colour"),
        (("evaluate", "nowhere"), 5, "run.toml"),
        (("report", "nowhere"), 5, "nowhere"),
        (("export", "nowhere"), 2, "--to"),
        (("predict", "nowhere", "image.jpg"), 9, "nowhere"),
        (("verify", "nowhere"), 9, "nowhere"),
        (("serve", "nowhere"), 9, "nowhere"),
        (("train", "nowhere.toml"), 2, "nowhere.toml"),
    ],
)
def test_user_errors_are_one_message_and_an_exit_code(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in command(*arguments, code=code).stderr
    assert not (tmp_path / "results").exists()


def test_run_toml_holds_the_given_options(finished: Path, phantoms: Path) -> None:
    config = RunConfig.model_validate({**read_toml(finished / "run.toml"), "out": finished})
    assert config.data == phantoms
    assert (config.ladder, config.arch) == ((1, 2), ("linear", "cnn"))
