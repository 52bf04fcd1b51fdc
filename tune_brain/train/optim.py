"""AdamW and the one-cycle learning rate."""

from typing import Any

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from tune_brain.config import Hyperparameters


def optimizer(model: nn.Module, hp: Hyperparameters) -> AdamW:
    """AdamW whose weight decay spares biases and batch-norm parameters (fewer than two dimensions)."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return AdamW(groups, lr=hp.max_lr, weight_decay=hp.weight_decay, fused=True)


def one_cycle(optimizer: AdamW, hp: Hyperparameters, steps: int) -> OneCycleLR:
    """The one-cycle policy (Smith & Topin, 2018) as torch has it, over all steps of a trial.

    The learning rate rises along a cosine from max_lr / 25 to max_lr during `warmup_share` of the steps, then
    falls along a cosine to max_lr / 250,000; Adam's first beta moves the other way, .95 to .85 and back.
    """
    share = hp.warmup_share
    if share * steps == 1:
        # Torch divides zero by zero where the rise is exactly one step long.
        share *= 1 + 1e-9
    return OneCycleLR(optimizer, max_lr=hp.max_lr, total_steps=steps, pct_start=share)
