"""The state of a trial in progress: captured and restored, so that training resumes bit for bit."""

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
from tune_brain.train.optim import make_optimizer, one_cycle

MOMENTS = ("exp_avg", "exp_avg_sq", "step")
"""AdamW's state for each parameter."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One trial: its configuration and data, and between two epochs all that decides the rest of it."""

    config: TrialConfig
    development: Development
    device: torch.device
    model: nn.Module
    optimizer: AdamW
    schedule: OneCycleLR
    order: torch.Generator
    """Draws the order of the images."""
    augmentation: torch.Generator
    """Draws rotations and flips."""

    @property
    def steps(self) -> int:
        """Optimizer steps per epoch."""
        return steps_per_epoch(len(self.development.train.labels), self.config.hyperparameters.batch_size)

    @property
    def done(self) -> int:
        """Completed epochs."""
        return self.schedule.last_epoch // self.steps


def arrange(model: nn.Module, device: torch.device, precision: Precision) -> None:
    """Move a model to the device that trains it, with the layout and convolutions that suit the precision."""
    place(model, device, precision)
    if precision == "bf16" and device.type == "cpu":
        speed_up(model)


def begin(model: nn.Module, config: TrialConfig, development: Development, device: torch.device) -> Training:
    """The trial before its first step.

    Args:
        model: the model to train; it is moved to the device and arranged for training in place.
        config: the trial.
        development: images for training and validation.
        device: where it trains.
    """
    arrange(model, device, config.precision)
    hp = config.hyperparameters
    optimizer = make_optimizer(model, hp)
    steps = (config.cycle or config.epochs) * steps_per_epoch(len(development.train.labels), hp.batch_size)
    return Training(
        config=config,
        development=development,
        device=device,
        model=model,
        optimizer=optimizer,
        schedule=one_cycle(optimizer, hp, steps),
        order=torch.Generator().manual_seed(derive(config.seed, "order")),
        augmentation=torch.Generator().manual_seed(derive(config.seed, "augment")),
    )


def capture(training: Training) -> dict[str, Tensor]:
    """A copy of the trial's state between two epochs, on the CPU, for `restore`.

    It holds weights, buffers, AdamW's moments, learning rates and betas, the number of steps taken, and the
    states of both generators.
    """
    state = {f"model.{name}": value for name, value in training.model.state_dict().items()}
    for number, parameter in enumerate(_parameters(training.optimizer)):
        moments = training.optimizer.state[parameter]
        state |= {f"moments.{number}.{name}": moments[name] for name in MOMENTS}
    rates = [[group["lr"], *group["betas"]] for group in training.optimizer.param_groups]
    copies = {name: _copy(value) for name, value in state.items()}
    return copies | {
        "rates": torch.tensor(rates, dtype=torch.float64),
        "steps": torch.tensor(training.schedule.last_epoch),
        "order": training.order.get_state(),
        "augmentation": training.augmentation.get_state(),
    }


def restore(training: Training, state: Mapping[str, Tensor]) -> None:
    """Set a trial that has just begun to the captured state of a trial with the same configuration.

    Raises:
        KeyError, RuntimeError: the state is that of another architecture.
    """
    model = {name.removeprefix("model."): state[name] for name in state if name.startswith("model.")}
    training.model.load_state_dict(model)
    for number, parameter in enumerate(_parameters(training.optimizer)):
        steps = state[f"moments.{number}.step"].to(training.device)
        moments = {name: torch.zeros_like(parameter) for name in MOMENTS[:2]}
        for name, moment in moments.items():
            moment.copy_(state[f"moments.{number}.{name}"])
        training.optimizer.state[parameter] = {"step": steps, **moments}
    training.schedule.last_epoch = int(state["steps"])
    for group, (lr, *betas) in zip(training.optimizer.param_groups, state["rates"].tolist(), strict=True):
        group["lr"], group["betas"] = lr, tuple(betas)
    training.order.set_state(state["order"])
    training.augmentation.set_state(state["augmentation"])


def _parameters(optimizer: AdamW) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _copy(value: Tensor) -> Tensor:
    """A contiguous copy, as safetensors requires, without memory shared with what training changes."""
    contiguous = value.detach().cpu().contiguous()
    return contiguous.clone() if contiguous.data_ptr() == value.data_ptr() else contiguous
