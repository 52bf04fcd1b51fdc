"""A trial under way: what its epochs move on, and that as tensors, to go on elsewhere as if never stopped."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from tune_brain.config import Precision, TrialConfig
from tune_brain.data.arrays import Development
from tune_brain.data.batches import steps_per_epoch
from tune_brain.portable.networks import place
from tune_brain.seeds import derive
from tune_brain.train.convolution import speed_up
from tune_brain.train.optim import one_cycle, optimizer

MOMENTS = ("exp_avg", "exp_avg_sq", "step")
"""What AdamW keeps for each parameter."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One trial: what it was asked for, and all that decides the rest of it between two epochs."""

    config: TrialConfig
    development: Development
    device: torch.device
    model: nn.Module
    update: AdamW
    schedule: OneCycleLR
    order: torch.Generator
    """Draws the order of the images."""
    augmentation: torch.Generator
    """Draws angles and mirrorings."""

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return steps_per_epoch(len(self.development.train.labels), self.config.hyperparameters.batch_size)

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return self.schedule.last_epoch // self.steps


def arrange(model: nn.Module, device: torch.device, precision: Precision) -> None:
    """Move a model to where it trains, with the layout and the convolutions that suit the precision there."""
    place(model, device, precision)
    if precision == "bf16" and device.type == "cpu":
        speed_up(model)


def begin(model: nn.Module, config: TrialConfig, development: Development, device: torch.device) -> Training:
    """A trial before its first step; the model is arranged for training."""
    arrange(model, device, config.precision)
    hp = config.hyperparameters
    update = optimizer(model, hp)
    steps = (config.cycle or config.epochs) * steps_per_epoch(len(development.train.labels), hp.batch_size)
    return Training(
        config=config,
        development=development,
        device=device,
        model=model,
        update=update,
        schedule=one_cycle(update, hp, steps),
        order=torch.Generator().manual_seed(derive(config.seed, "order")),
        augmentation=torch.Generator().manual_seed(derive(config.seed, "augment")),
    )


def capture(training: Training) -> dict[str, Tensor]:
    """A copy of the trial's state between two epochs, on the CPU: what `restore` takes.

    Weights, buffers, AdamW's moments, learning rate and betas, the number of steps taken, both generators.
    """
    state = {f"model.{name}": value for name, value in training.model.state_dict().items()}
    for number, parameter in enumerate(_parameters(training.update)):
        moments = training.update.state[parameter]
        state |= {f"moments.{number}.{name}": moments[name] for name in MOMENTS}
    rates = [[group["lr"], *group["betas"]] for group in training.update.param_groups]
    copies = {name: _copy(value) for name, value in state.items()}
    return copies | {
        "rates": torch.tensor(rates, dtype=torch.float64),
        "steps": torch.tensor(training.schedule.last_epoch),
        "order": training.order.get_state(),
        "augmentation": training.augmentation.get_state(),
    }


def restore(training: Training, state: Mapping[str, Tensor]) -> None:
    """Bring a trial that has just begun to where another with the same configuration was captured.

    Raises:
        KeyError, RuntimeError: the state is that of another architecture.
    """
    model = {name.removeprefix("model."): state[name] for name in state if name.startswith("model.")}
    training.model.load_state_dict(model)
    for number, parameter in enumerate(_parameters(training.update)):
        count = state[f"moments.{number}.step"].to(training.device)
        moments = {name: torch.zeros_like(parameter) for name in MOMENTS[:2]}
        for name, moment in moments.items():
            moment.copy_(state[f"moments.{number}.{name}"])
        training.update.state[parameter] = {"step": count, **moments}
    training.schedule.last_epoch = int(state["steps"])
    for group, (lr, *betas) in zip(training.update.param_groups, state["rates"].tolist(), strict=True):
        group["lr"], group["betas"] = lr, tuple(betas)
    training.order.set_state(state["order"])
    training.augmentation.set_state(state["augmentation"])


def _parameters(update: AdamW) -> list[nn.Parameter]:
    return [parameter for group in update.param_groups for parameter in group["params"]]


def _copy(value: Tensor) -> Tensor:
    """Packed, as safetensors wants it, and no view of what training goes on to change."""
    packed = value.detach().cpu().contiguous()
    return packed.clone() if packed.data_ptr() == value.data_ptr() else packed
