"""The model of a trial: an architecture's network, initialised from the trial's seed."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tune_brain.config import PRETRAINED, TrialConfig, check_precision
from tune_brain.errors import ConfigError
from tune_brain.portable.networks import BUILDERS, network
from tune_brain.seeds import derive


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A model's parameters and buffers, on the CPU and contiguous, as safetensors requires."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def build(config: TrialConfig, weights: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Build the model of a trial: float [N, 1, H, W] in 0..1 to logits [N, classes].

    The random weights depend on the seed alone; the global generator is neither read nor advanced.

    Args:
        config: the trial, for its architecture, sizes, precision and seed.
        weights: the pretrained weights of resnet34, checked by `tune_brain.weights`; their head is ignored,
            and a new one is initialised. The other architectures always start from random weights.

    Raises:
        ConfigError: there is no such architecture, or it cannot be trained in bf16 at this image size.
    """
    if config.arch not in BUILDERS:
        raise ConfigError(f"arch must be one of {', '.join(BUILDERS)}", found=config.arch)
    check_precision(config.arch, config.image_size, config.precision)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(config.seed, "weights"))
        model = network(config.arch, config.classes, config.image_size)
    if config.arch == PRETRAINED and weights is not None:
        trunk = {f"net.{name}": value for name, value in weights.items() if not is_head(name)}
        model.load_state_dict(trunk, strict=False)
    return model


def is_head(name: str) -> bool:
    """Whether a parameter's name is that of a ResNet's last layer, the classifier."""
    return name.startswith("fc.")
