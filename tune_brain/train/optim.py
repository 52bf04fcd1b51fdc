"""AdamW and the one-cycle learning-rate schedule."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from tune_brain.config import Hyperparameters


def make_optimizer(model: nn.Module, hp: Hyperparameters) -> AdamW:
    """AdamW without weight decay for biases and batch-norm parameters (those with fewer than two dimensions).

    The optimizer updates views of the model's weights whose axes follow the memory layout; clear gradients on
    the model (`model.zero_grad`). Why: torch's fused step on a CPU walks each tensor's memory from start to
    end, whatever its layout. If a gradient has another layout than its weight, the update is wrong; if both
    are channels-last, the step needlessly copies the gradient first, about a sixteenth of a ResNet's step
    (torch 2.14, FusedAdamKernel.cpp; results/LOG.md).
    """
    weights = list(model.parameters())
    views = [nn.Parameter(_in_memory_order(weight, weight).detach()) for weight in weights]
    groups: list[dict[str, Any]] = [
        {"params": [view for view in views if view.ndim >= 2]},
        {"params": [view for view in views if view.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = AdamW(groups, lr=hp.max_lr, weight_decay=hp.weight_decay, fused=True)

    def attach_gradients(*_: object) -> None:
        for weight, view in zip(weights, views, strict=True):
            view.grad = None if weight.grad is None else _in_memory_order(weight.grad, weight).contiguous()

    def detach_gradients(*_: object) -> None:
        for view in views:
            view.grad = None

    optimizer.register_step_pre_hook(attach_gradients)
    optimizer.register_step_post_hook(detach_gradients)
    return optimizer


def _in_memory_order(tensor: Tensor, weight: Tensor) -> Tensor:
    """A view of a tensor with its axes in the order of the memory layout of a weight of the same shape."""
    channels_last = not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)
    return tensor.permute(0, 2, 3, 1) if channels_last else tensor


def one_cycle(optimizer: AdamW, hp: Hyperparameters, steps: int) -> OneCycleLR:
    """The one-cycle policy (Smith & Topin, 2018) in torch's implementation, over all steps of a cycle.

    The learning rate rises along a cosine from max_lr / 25 to max_lr during `warmup_share` of the steps, then
    falls along a cosine to max_lr / 250,000. Adam's first beta moves the other way, from .95 to .85 and back.

    Args:
        optimizer: the optimizer to schedule.
        hp: peak learning rate and share of the warm-up.
        steps: optimizer steps in the whole cycle.
    """
    share = hp.warmup_share
    if share * steps == 1:
        # With a warm-up of exactly one step torch would divide zero by zero.
        share *= 1 + 1e-9
    return OneCycleLR(optimizer, max_lr=hp.max_lr, total_steps=steps, pct_start=share)
