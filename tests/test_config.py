"""Validation of configurations, and the files in which they are stored."""

import tomllib
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from tune_brain.config import (
    ARCHITECTURES,
    Hyperparameters,
    RunConfig,
    TrialConfig,
    check,
    check_seeds,
    read_toml,
    to_toml,
)
from tune_brain.errors import ConfigError

TRIAL = {"arch": "cnn", "epochs": 3, "image_size": 32, "classes": 4, "seed": 0}
HYPERPARAMETERS = {"max_lr": 1e-3, "weight_decay": 1e-4, "grad_clip": 1.0}

# Paths are text that UTF-8 can hold.
PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20).map(Path)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
RUNS = st.builds(
    RunConfig,
    data=st.none() | PATHS,
    out=PATHS.filter(lambda path: ":/" not in str(path)),
    arch=st.lists(st.sampled_from(ARCHITECTURES), unique=True, min_size=1).map(tuple),
    configs=st.integers(1, 10_000),
    ladder=st.sets(st.integers(1, 1000), min_size=1, max_size=5).map(lambda rungs: tuple(sorted(rungs))),
    image_size=st.integers(16, 1024),
    spaces=st.none() | PATHS,
    time_budget=st.none() | POSITIVE,
    concurrency=st.none() | st.integers(1, 1000),
    gpus_per_trial=st.none() | st.floats(0, 1) | st.integers(2, 8).map(float),
    address=st.none() | st.text(st.characters(codec="utf-8")),
    seed=st.integers(0, 2**63 - 1),
    weights=st.text(st.characters(codec="utf-8")),
    precision=st.sampled_from(["auto", "fp32", "bf16"]),
    seeds=st.integers(1, 100),
)
TRIALS = st.builds(
    TrialConfig,
    arch=st.sampled_from(ARCHITECTURES),
    epochs=st.integers(1, 1000),
    image_size=st.integers(16, 1024),
    classes=st.integers(2, 1000),
    seed=st.integers(0, 2**63 - 1),
    precision=st.sampled_from(["fp32", "bf16"]),
    hyperparameters=st.builds(
        Hyperparameters,
        max_lr=POSITIVE,
        weight_decay=POSITIVE,
        grad_clip=POSITIVE,
        batch_size=st.integers(1, 4096),
    ),
)


@settings(deadline=None, max_examples=50)
@given(RUNS)
def test_a_run_file_is_read_back_unchanged(config: RunConfig) -> None:
    assert check(RunConfig, tomllib.loads(to_toml(config, "A comment.")), "run.toml") == config


@settings(deadline=None, max_examples=50)
@given(TRIALS)
def test_a_trial_file_is_read_back_to_the_last_bit(config: TrialConfig) -> None:
    assert check(TrialConfig, tomllib.loads(to_toml(config, "A comment.")), "cnn.toml") == config


def test_a_file_starts_with_its_comment_and_omits_what_it_is_told_to(tmp_path: Path) -> None:
    text = to_toml(
        RunConfig(out=Path("results/a"), seed=7), "Two lines,\nboth of them comments.", frozenset({"out"})
    )
    assert text.startswith("# Two lines,\n# both of them comments.\n")
    file = tmp_path / "run.toml"
    file.write_text(text, encoding="utf-8")
    values = read_toml(file)
    assert "out" not in values
    assert "data" not in values
    assert values["seed"] == 7


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        (RunConfig, {"out": "s3://bucket/a"}, ["out must be a folder", "s3:/bucket/a", "tune-brain copy"]),
        (RunConfig, {"out": Path("gs://bucket/a")}, ["out must be a folder"]),
        (RunConfig, {"out": "a", "configs": 0}, ["configs", "greater than or equal to 1", "not 0"]),
        (RunConfig, {"out": "a", "image_size": 8}, ["image_size", "greater than or equal to 16", "not 8"]),
        (RunConfig, {"out": "a", "time_budget": float("nan")}, ["time_budget", "finite number", "not nan"]),
        (RunConfig, {"out": "a", "ladder": [3, 6, 6]}, ["ladder must increase", "(3, 6, 6)"]),
        (RunConfig, {"out": "a", "ladder": [6, 3]}, ["ladder must increase", "(6, 3)"]),
        (RunConfig, {"out": "a", "ladder": [0, 3]}, ["ladder must increase from at least 1 epoch", "(0, 3)"]),
        (RunConfig, {"out": "a", "ladder": []}, ["ladder", "at least 1 item", "not []"]),
        (RunConfig, {"out": "a", "final_round": [1, 2]}, ["at least two trials", "(1, 2)"]),
        (RunConfig, {"out": "a", "arch": ["vgg"]}, ["arch must be among", *ARCHITECTURES, "not vgg"]),
        (RunConfig, {"out": "a", "arch": ["cnn", "cnn"]}, ["arch", "once", "cnn, cnn"]),
        (RunConfig, {"out": "a", "epochs": 12}, ["epochs: unknown; possible are data, out"]),
        (
            RunConfig,
            {"out": "a", "gpus_per_trial": 1.5},
            ["a fraction of one GPU or a whole number", "not 1.5"],
        ),
        (RunConfig, {"configs": 3}, ["out", "required"]),
        (TrialConfig, TRIAL, ["hyperparameters", "required"]),
        (TrialConfig, {**TRIAL, "hyperparameters": HYPERPARAMETERS, "cycle": 2}, ["as long as the trial"]),
        (
            TrialConfig,
            {**TRIAL, "classes": 1, "hyperparameters": {**HYPERPARAMETERS, "max_lr": -1}},
            [
                "classes",
                "greater than or equal to 2",
                "not 1",
                "hyperparameters.max_lr",
                "greater than 0",
                "not -1",
            ],
        ),
        (
            Hyperparameters,
            {**HYPERPARAMETERS, "grad_clip": "much"},
            ["grad_clip", "valid number", "not 'much'"],
        ),
        (Hyperparameters, {**HYPERPARAMETERS, "flip": 1.5}, ["flip", "less than or equal to 1", "not 1.5"]),
    ],
)
def test_an_invalid_value_is_reported_with_source_field_and_value(
    kind: type[Any], values: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as raised:
        check(kind, values, "the/file.toml")
    assert "Value error" not in str(raised.value)
    for word in ["the/file.toml", *words]:
        assert word in str(raised.value)


def test_a_configuration_cannot_change() -> None:
    config = RunConfig(out=Path("a"))
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1  # type: ignore[misc]


def test_full_length_is_the_top_of_the_ladder() -> None:
    assert RunConfig(out=Path("a"), ladder=(2, 5)).full_length == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "Cannot read"), (b"max_lr = 1e-4e", "TOML 1.0"), (b"name = '\xff'", "TOML 1.0")],
    ids=["missing", "not TOML", "not UTF-8"],
)
def test_an_unreadable_file_is_named(content: bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as raised:
        read_toml(file)
    assert str(file) in str(raised.value)


def test_the_home_folder_is_expanded_and_paths_that_are_not_utf8_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunConfig(out=Path("~/runs/a"), data=Path("~nobody/mri")).out == tmp_path / "runs" / "a"
    with pytest.raises(ConfigError, match=r"data.*UTF-8.*link"):
        check(RunConfig, {"out": Path("a"), "data": Path("Donn\udce9es")}, "An option")
    with pytest.raises(ConfigError, match=r"out.*UTF-8.*link"):
        check(RunConfig, {"out": Path("Donn\udce9es")}, "An option")
    with pytest.raises(ConfigError, match=r"weights.*UTF-8.*link"):
        check(RunConfig, {"out": Path("a"), "weights": "Donn\udce9es.pth"}, "An option")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes("\ufeffseed = 3\n".encode())
    assert read_toml(file) == {"seed": 3}


def test_more_seed_runs_than_a_bundle_can_hold_are_refused() -> None:
    four = ("linear", "cnn", "resnet18", "resnet34")
    check_seeds(RunConfig(out=Path("a"), seeds=25, arch=four))
    check_seeds(RunConfig(out=Path("a"), seeds=100, arch=("cnn",)))
    with pytest.raises(ConfigError, match="26 seeds of 4 architectures"):
        check_seeds(RunConfig(out=Path("a"), seeds=26, arch=four))
