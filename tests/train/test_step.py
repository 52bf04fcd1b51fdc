"""One optimizer step: clipping, augmentation, and no waiting for the device."""

import contextlib
from typing import Any

import pytest
import torch
from squares import CPU, DEVELOPMENT, rows, trial
from torch import Tensor

from tune_brain.config import Hyperparameters, TrialConfig
from tune_brain.data.augment import augment
from tune_brain.models import build
from tune_brain.train import fit as fit_module
from tune_brain.train.fit import Step, fit, step
from tune_brain.train.training import begin


def change(grad_clip: float) -> tuple[float, Step]:
    """The L2 norm of the change of all parameters in one step of gradient descent at a learning rate of 1."""
    model = build(trial())
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    batch, labels = torch.tensor(DEVELOPMENT.train.pixels) / 255, torch.tensor(DEVELOPMENT.train.labels)
    result = step(model, optimizer, batch, labels, grad_clip, "fp32")
    moved = [new.detach() - old for new, old in zip(model.parameters(), before, strict=True)]
    return float(torch.cat([one.flatten() for one in moved]).norm()), result


def test_a_step_moves_no_further_than_the_clipped_gradient() -> None:
    moved, result = change(grad_clip=1e-3)
    assert float(result.norm) > 0.1
    assert moved == pytest.approx(1e-3, rel=0.01)


def test_a_gradient_below_the_limit_is_used_as_it_is() -> None:
    moved, result = change(grad_clip=1e6)
    assert moved == pytest.approx(float(result.norm), rel=1e-3)


def test_a_row_holds_the_share_of_clipped_steps() -> None:
    never, always = (rows(trial(epochs=1, grad_clip=clip))[0] for clip in (1e6, 1e-6))
    assert (never["clipped_share"], always["clipped_share"]) == (0, 1)


def test_training_batches_alone_are_augmented_as_the_hyperparameters_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[dict[str, Any]] = []

    def recorded(pixels: Tensor, **keywords: Any) -> Tensor:
        calls.append({"images": len(pixels), **keywords})
        return augment(pixels, **keywords)

    monkeypatch.setattr(fit_module, "augment", recorded)
    config = trial(epochs=2, rotation=7.0, flip=0.25)
    training = begin(build(config), config, DEVELOPMENT, CPU)
    for epoch, _ in enumerate(fit(training), 1):
        assert len(calls) == epoch * training.steps
        assert sum(call["images"] for call in calls) == epoch * len(DEVELOPMENT.train.labels)
    for call in calls:
        assert (call["rotation"], call["flip"]) == (7.0, 0.25)
        assert call["generator"] is training.augmentation


@pytest.mark.parametrize("arch", ["linear", "cnn", "resnet18"])
def test_no_step_waits_for_its_device(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a value from a tensor on the device `meta`, which has none, raises an error."""
    # That device does not support autocast.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    meta = torch.device("meta")
    fields = {"arch": arch, "epochs": 1, "image_size": 16, "classes": 2, "seed": 0}
    hp = Hyperparameters(max_lr=1e-2, weight_decay=1e-2, grad_clip=1.0)
    model = build(TrialConfig(**fields, hyperparameters=hp)).to(meta)
    optimizer = torch.optim.SGD(model.parameters(), lr=hp.max_lr)
    pixels = torch.empty((8, 1, 16, 16), dtype=torch.uint8, device=meta)
    labels = torch.empty(8, dtype=torch.int64, device=meta)
    steps = fit_module._Steps(2, 16, 2, meta)
    for _ in range(2):
        batch = augment(pixels, rotation=10.0, flip=0.5, generator=torch.Generator())
        steps.add(fit_module.step(model, optimizer, batch, labels, hp.grad_clip, "fp32"))
    with pytest.raises(RuntimeError, match="Meta tensors"):
        steps.scores(hp.grad_clip, 2)
