"""The training loop: rows, reproducibility, divergence, and resuming bit for bit."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from squares import CPU, DEVELOPMENT, rows, squares, trial
from torch import Tensor, nn

from tune_brain.config import TrialConfig
from tune_brain.data.arrays import Development, Images
from tune_brain.errors import Diverged
from tune_brain.models import build
from tune_brain.portable.networks import predict
from tune_brain.records import EpochRow
from tune_brain.train import fit as fit_module
from tune_brain.train.convolution import SmallConv2d
from tune_brain.train.fit import fit
from tune_brain.train.training import begin, capture, restore

SLOW = pytest.mark.slow


def untimed(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_each_epoch_yields_the_fields_of_its_row() -> None:
    result = rows(trial(epochs=3))
    assert [row["epoch"] for row in result] == [1, 2, 3]
    for row in result:
        EpochRow.model_validate({"trial": 0, "arch": "linear", **row})
    assert set(result[0]) == EpochRow.model_fields.keys() - {"trial", "arch"}


@pytest.mark.parametrize(("arch", "precision"), [("linear", "fp32"), ("cnn", "fp32"), ("cnn", "bf16")])
def test_a_trial_learns_a_learnable_task(arch: str, precision: str) -> None:
    last = rows(trial(arch, epochs=8, precision=precision, rotation=0.0, max_lr=3e-3))[-1]
    assert last["train_accuracy"] > 0.9
    assert last["val_macro_f1"] > 0.9


@pytest.mark.parametrize(
    ("arch", "precision"),
    [("linear", "fp32"), ("cnn", "bf16"), pytest.param("resnet18", "fp32", marks=pytest.mark.slow)],
)
def test_equal_trials_yield_equal_rows_whatever_the_global_generators_state(
    arch: str, precision: str
) -> None:
    config = trial(arch, precision=precision, epochs=1 if arch == "resnet18" else 2)
    torch.manual_seed(1)
    first = rows(config)
    torch.manual_seed(2)
    assert untimed(first) == untimed(rows(config))


@pytest.mark.parametrize(("precision", "kind"), [("fp32", nn.Conv2d), ("bf16", SmallConv2d)])
def test_small_convolutions_become_products_in_bf16(precision: str, kind: type[nn.Conv2d]) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, bias=False))
    begin(model, trial("cnn", precision=precision), DEVELOPMENT, CPU)
    assert type(model[0]) is kind


class Recorder(nn.Module):
    """Records the brightest pixel of each training image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 1))
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen += (images.amax((1, 2, 3)) * 255).round().int().tolist()
        return images.mean((2, 3)) @ self.weight.T


def order_of(config: TrialConfig) -> list[int]:
    """The order of the training images, ten different shades of grey, in two epochs."""
    shades = np.repeat(np.arange(10, 110, 10, dtype=np.uint8), 256).reshape(10, 1, 16, 16)
    train = Images(pixels=shades, labels=np.arange(10) % 2, thumbnails=np.zeros((10, 32, 32), np.uint8))
    recorder = Recorder()
    development = Development(classes=("a", "b"), train=train, validation=DEVELOPMENT.validation)
    list(fit(begin(recorder, config, development, CPU)))
    return recorder.seen


def test_the_order_changes_with_each_epoch_and_depends_on_the_seed() -> None:
    first, again, other = (order_of(trial(seed=seed, rotation=0.0)) for seed in (0, 0, 1))
    assert first == again != other
    assert first[:10] != first[10:]
    assert sorted(first[:10]) == sorted(first[10:]) == list(range(10, 110, 10))


def test_augmentation_does_not_change_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    before = order_of(trial(rotation=0.0))
    monkeypatch.setattr(fit_module, "augment", lambda pixels, **_: pixels.float() / 255)
    assert order_of(trial(rotation=0.0)) == before


def test_the_seed_decides_the_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "training_batches", lambda n, *_: iter([torch.arange(n)]))
    first, again, other = (
        next(fit(begin(build(trial()), trial(seed=seed, batch_size=64), DEVELOPMENT, CPU)))
        for seed in (0, 0, 1)
    )
    assert first["train_loss"] == again["train_loss"] != other["train_loss"]


def test_a_row_equals_an_epoch_computed_by_hand() -> None:
    """One epoch of one batch: scores before the step, norm before clipping, learning rate of the step."""
    config = trial(epochs=1, batch_size=64, rotation=0.0, flip=0.0, grad_clip=1e-3)
    images, labels = torch.tensor(DEVELOPMENT.train.pixels) / 255, torch.tensor(DEVELOPMENT.train.labels)
    model = build(config)
    logits = model(images)
    loss = nn.functional.cross_entropy(logits, labels)
    norm = torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, list(model.parameters()))]).norm()
    (row,) = rows(config)
    assert row["train_loss"] == pytest.approx(loss.item(), rel=1e-4)
    assert row["train_accuracy"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert row["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    assert row["clipped_share"] == 1
    assert row["lr"] == pytest.approx(1e-3 / 25 / 1e4)


def test_the_loss_of_an_epoch_is_the_mean_over_images_and_not_over_batches() -> None:
    """42 images in batches of 40 and 2: at a vanishing learning rate, the loss equals that of one batch."""
    values = {"max_lr": 1e-12, "weight_decay": 0.0, "rotation": 0.0, "flip": 0.0}
    (uneven,) = rows(trial(epochs=1, batch_size=40, **values))
    (whole,) = rows(trial(epochs=1, batch_size=42, **values))
    assert uneven["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-5)


def test_validation_scores_are_those_of_the_trained_model() -> None:
    config = trial("resnet18", epochs=1)
    model = build(config)
    few = Development(classes=("above", "below"), train=squares(8, 0), validation=DEVELOPMENT.validation)
    (row,) = fit(begin(model, config, few, CPU))
    labels = torch.tensor(DEVELOPMENT.validation.labels)
    with torch.inference_mode():
        logits = model.eval()(torch.tensor(DEVELOPMENT.validation.pixels) / 255)
    torch.testing.assert_close(predict(model.train(), DEVELOPMENT.validation.pixels, CPU, "fp32"), logits)
    assert row["val_loss"] == pytest.approx(nn.functional.cross_entropy(logits, labels).item())
    assert row["val_accuracy"] == pytest.approx((logits.argmax(1) == labels).float().mean().item())


def test_predictions_do_not_depend_on_the_rest_of_the_batch() -> None:
    model = build(trial("resnet18")).train()
    pixels = np.concatenate([DEVELOPMENT.train.pixels] * 4)
    together = predict(model, pixels, CPU, "fp32")
    alone = predict(model, torch.tensor(pixels[130:131]), CPU, "fp32")
    torch.testing.assert_close(together[130:131], alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("poison", "words"),
    [
        ({"train": math.nan}, "epoch 1 of 2 the training loss was nan"),
        ({"train": math.inf}, "epoch 1 of 2 the training loss was (nan|inf)"),
        ({"validation": math.nan}, "epoch 1 of 2 the validation loss was nan"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_trial(poison: Mapping[str, float], words: str) -> None:
    class Poisoned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = build(trial())

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.net(images)
            return logits + poison.get("train" if self.training else "validation", 0.0)

    with pytest.raises(Diverged, match=words):
        list(fit(begin(Poisoned(), trial(), DEVELOPMENT, CPU)))


def test_an_absurd_learning_rate_diverges() -> None:
    with pytest.raises(Diverged, match=r"In epoch 1 of 2 the .* was (nan|inf)"):
        rows(trial(max_lr=1e30, grad_clip=1e30))


@pytest.mark.parametrize(
    ("arch", "precision"), [("linear", "fp32"), ("cnn", "bf16"), pytest.param("resnet18", "fp32", marks=SLOW)]
)
def test_a_trial_restored_after_any_epoch_continues_bit_for_bit(arch: str, precision: str) -> None:
    config = trial(arch, epochs=3, precision=precision)
    whole = begin(build(config), config, DEVELOPMENT, CPU)
    expected = []
    states = []
    for row in fit(whole):
        expected.append(row)
        states.append(capture(whole))
    for done, state in enumerate(states, 1):
        # Another seed's weights and generators must leave no trace.
        other = config.model_copy(update={"seed": 7})
        again = begin(build(other), config, DEVELOPMENT, CPU)
        restore(again, state)
        assert again.done == done
        assert untimed(list(fit(again))) == untimed(expected[done:])
        assert all(map(torch.equal, whole.model.state_dict().values(), again.model.state_dict().values()))


def test_the_beginning_of_a_cycle_equals_that_of_the_whole_cycle() -> None:
    whole, begun = trial(epochs=6), trial(epochs=2, cycle=6)
    assert untimed(rows(begun)) == untimed(rows(whole))[:2]
    assert rows(trial(epochs=2))[0]["lr"] > rows(begun)[0]["lr"]


def test_captured_state_does_not_change_as_training_continues() -> None:
    config = trial(epochs=2)
    training = begin(build(config), config, DEVELOPMENT, CPU)
    epochs = fit(training)
    next(epochs)
    state = capture(training)
    copies = {name: value.clone() for name, value in state.items()}
    next(epochs)
    assert all(torch.equal(state[name], copies[name]) for name in copies)
