import os
from pathlib import Path

import pytest

from tune_brain.config import ARCHITECTURES
from tune_brain.errors import ConfigError
from tune_brain.space import default_folder, load, save

GOOD = """
arch = "cnn"
[fixed]
batch_size = 32
[tuned.max_lr]
low = 1e-4
high = 1e-1
[tuned.weight_decay]
low = 0.0
high = 0.1
log = false
[tuned.grad_clip]
low = 0.1
high = 10.0
[baseline]
max_lr = 1e-3
weight_decay = 0.01
grad_clip = 1.0
"""


def written(folder: Path, text: str = GOOD) -> Path:
    (folder / "cnn.toml").write_text(text)
    return folder


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_default_spaces_tune_learning_rate_decay_and_clipping(arch: str) -> None:
    space = load(default_folder(), [arch])[arch]
    assert space.tuned.keys() == {"max_lr", "weight_decay", "grad_clip"}
    assert all(limits.log for limits in space.tuned.values())
    trial = space.trial(space.baseline, epochs=12, image_size=48, classes=4, seed=1, precision="fp32")
    assert trial.hyperparameters.max_lr == space.baseline["max_lr"]
    assert trial.hyperparameters.batch_size == space.fixed["batch_size"]


def test_a_saved_space_is_read_back_equal(tmp_path: Path) -> None:
    spaces = load(written(tmp_path), ["cnn"])
    save(spaces, tmp_path / "kept")
    assert load(tmp_path / "kept", ["cnn"]) == spaces


def test_a_space_file_is_replaced_completely_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces = load(written(tmp_path), ["cnn"])
    save(spaces, tmp_path)
    wider = {"cnn": spaces["cnn"].model_copy(update={"fixed": {"batch_size": 64}})}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(wider, tmp_path)
    assert load(tmp_path, ["cnn"]) == spaces


@pytest.mark.parametrize(
    ("broken", "by", "says"),
    [
        ("low = 1e-4", "low = 1.0", "low must be below high"),
        ("low = 0.0\nhigh = 0.1\nlog = false", "low = 0.0\nhigh = 0.1", "above 0 where log"),
        ("max_lr = 1e-3", "max_lr = 5.0", "must lie in its range"),
        ("grad_clip = 1.0\n", "", "must hold the tuned hyperparameters"),
        ("batch_size = 32", "max_lr = 0.1", "cannot be both fixed and tuned"),
        ("batch_size = 32", "batch_sise = 32", "no such hyperparameter: batch_sise; there are .*batch_size"),
        ("batch_size = 32", "batch_size = 0", "batch_size"),
        ('arch = "cnn"', 'arch = "linear"', "must say arch"),
        ('arch = "cnn"', "arch = ", "TOML"),
    ],
)
def test_an_invalid_space_file_is_refused_with_the_reason(
    tmp_path: Path, broken: str, by: str, says: str
) -> None:
    assert broken in GOOD
    with pytest.raises(ConfigError, match=says) as error:
        load(written(tmp_path, GOOD.replace(broken, by)), ["cnn"])
    assert "cnn.toml" in str(error.value)


def test_a_tuned_batch_size_is_an_integer(tmp_path: Path) -> None:
    tuned = GOOD.replace("[fixed]\nbatch_size = 32\n", "") + "batch_size = 32\n"
    tuned += "[tuned.batch_size]\nlow = 16\nhigh = 64\n"
    assert load(written(tmp_path, tuned), ["cnn"])["cnn"].whole == {"batch_size"}
    for broken, by in (("batch_size = 32", "batch_size = 32.5"), ("low = 16", "low = 15.5")):
        with pytest.raises(ConfigError, match="valid integer"):
            load(written(tmp_path, tuned.replace(broken, by)), ["cnn"])


def test_a_missing_space_file_is_named_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"resnet18\.toml.*cnn\.toml"):
        load(written(tmp_path), ["cnn", "resnet18"])
