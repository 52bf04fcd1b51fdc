"""AdamW and the one-cycle schedule against their formulas and torch's plain implementation."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tune_brain.config import Hyperparameters
from tune_brain.train.optim import make_optimizer, one_cycle


def hyperparameters(warmup_share: float = 0.3, weight_decay: float = 0.1) -> Hyperparameters:
    return Hyperparameters(max_lr=2e-3, weight_decay=weight_decay, grad_clip=1.0, warmup_share=warmup_share)


def rates(hp: Hyperparameters, steps: int) -> list[float]:
    optimizer = make_optimizer(nn.Linear(2, 2), hp)
    schedule = one_cycle(optimizer, hp, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def written_out(hp: Hyperparameters, steps: int, step: int) -> float:
    """Half a cosine up from max / 25 to max, and half a cosine down to max / 25 / 10,000."""
    low, high, end = hp.max_lr / 25, hp.max_lr, hp.max_lr / 25 / 1e4
    top = hp.warmup_share * steps - 1
    if step <= top:
        return low + (high - low) * (1 - math.cos(math.pi * step / top)) / 2
    return end + (high - end) * (1 + math.cos(math.pi * (step - top) / (steps - 1 - top))) / 2


@settings(max_examples=30, deadline=None)
@given(steps=st.integers(10, 60), share=st.sampled_from([0.25, 0.3, 0.5, 0.77]))
def test_the_rate_follows_the_one_cycle_formula(steps: int, share: float) -> None:
    hp = hyperparameters(share)
    expected = [written_out(hp, steps, step) for step in range(steps)]
    assert rates(hp, steps) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_first_beta_moves_against_the_rate() -> None:
    optimizer = make_optimizer(nn.Linear(2, 2), hyperparameters(warmup_share=0.3))
    schedule = one_cycle(optimizer, hyperparameters(warmup_share=0.3), 20)
    betas: list[tuple[float, ...]] = []
    for _ in range(20):
        betas.append(tuple(group["betas"][0] for group in optimizer.param_groups))
        optimizer.step()
        schedule.step()
    for of_group in zip(*betas, strict=True):
        assert (of_group[0], of_group[-1]) == pytest.approx((0.95, 0.95), abs=1e-6)
        assert min(of_group) == of_group[5] == pytest.approx(0.85)
    # Weights, and what is not decayed.
    assert len(betas[0]) == 2


@pytest.mark.parametrize(("steps", "share"), [(1, 0.3), (2, 0.5), (4, 0.25), (10, 0.1)])
def test_a_schedule_of_few_steps_has_a_valid_rate_at_each(steps: int, share: float) -> None:
    hp = hyperparameters(share)
    assert all(0 < rate <= hp.max_lr * (1 + 1e-6) for rate in rates(hp, steps))


def test_biases_and_batch_norm_do_not_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = make_optimizer(model, hyperparameters(weight_decay=0.5))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in model.named_parameters():
        shrunk = 1 - 2e-3 * 0.5 if name in ("0.weight", "3.weight") else 1
        torch.testing.assert_close(value.data, before[name] * shrunk)


@pytest.mark.parametrize("weights", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gradients", [torch.contiguous_format, torch.channels_last])
def test_a_step_equals_adamws_in_any_memory_layout_of_weights_and_gradients(
    weights: torch.memory_format, gradients: torch.memory_format
) -> None:
    # torch's own fused step mixes up elements if weight and gradient have different layouts.
    models = [nn.Conv2d(3, 4, 3).to(memory_format=weights) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    gradient = torch.randn(4, 3, 3, 3).contiguous(memory_format=gradients)
    plain = torch.optim.AdamW([models[1].weight], weight_decay=0.5, foreach=False)
    optimizer = make_optimizer(models[0], hyperparameters(weight_decay=0.5))
    for group in plain.param_groups + optimizer.param_groups:
        group["lr"] = 0.01
    for _ in range(3):
        models[0].weight.grad, models[1].weight.grad = gradient.clone(), gradient
        optimizer.step()
        plain.step()
    torch.testing.assert_close(models[0].weight, models[1].weight)


def test_an_optimizer_keeps_no_gradient_after_its_step() -> None:
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, hyperparameters())
    model(torch.ones(1, 3, 4, 4)).sum().backward()
    optimizer.step()
    assert [view.grad for group in optimizer.param_groups for view in group["params"]] == [None, None]
