"""AdamW and the one-cycle learning rate."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from tune_brain.config import Hyperparameters


def optimizer(model: nn.Module, hp: Hyperparameters) -> AdamW:
    """AdamW whose weight decay spares biases and batch-norm parameters (fewer than two dimensions).

    Its parameters are the model's, seen in the order of their memory; gradients are the model's to clear. For
    torch's fused step on a CPU reads every tensor from its first number to its last, whatever the layout: it
    is wrong where a gradient lies in another order than its weight, and where both lie channels last it first
    copies the gradient to no use, about a sixteenth of a ResNet's step (torch 2.14, FusedAdamKernel.cpp;
    results/LOG.md).
    """
    weights = list(model.parameters())
    seen = [nn.Parameter(_in_order(weight, weight).detach()) for weight in weights]
    groups: list[dict[str, Any]] = [
        {"params": [view for view in seen if view.ndim >= 2]},
        {"params": [view for view in seen if view.ndim < 2], "weight_decay": 0.0},
    ]
    update = AdamW(groups, lr=hp.max_lr, weight_decay=hp.weight_decay, fused=True)

    def lend(*_: object) -> None:
        for weight, view in zip(weights, seen, strict=True):
            view.grad = None if weight.grad is None else _in_order(weight.grad, weight).contiguous()

    def take_back(*_: object) -> None:
        for view in seen:
            view.grad = None

    update.register_step_pre_hook(lend)
    update.register_step_post_hook(take_back)
    return update


def _in_order(tensor: Tensor, weight: Tensor) -> Tensor:
    """A tensor of a weight's shape with its axes in the order in which that weight lies in memory."""
    last = not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)
    return tensor.permute(0, 2, 3, 1) if last else tensor


def one_cycle(optimizer: AdamW, hp: Hyperparameters, steps: int) -> OneCycleLR:
    """The one-cycle policy (Smith & Topin, 2018) as torch has it, over all steps of a cycle.

    The learning rate rises along a cosine from max_lr / 25 to max_lr during `warmup_share` of the steps, then
    falls along a cosine to max_lr / 250,000; Adam's first beta moves the other way, .95 to .85 and back.
    """
    share = hp.warmup_share
    if share * steps == 1:
        # Torch divides zero by zero where the rise is exactly one step long.
        share *= 1 + 1e-9
    return OneCycleLR(optimizer, max_lr=hp.max_lr, total_steps=steps, pct_start=share)
