"""The model of a trial: an architecture's network with the weights that its seed draws."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tune_brain.config import PRETRAINED, TrialConfig, check_precision
from tune_brain.errors import ConfigError
from tune_brain.portable.networks import BUILDERS, network
from tune_brain.seeds import derive


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A model's parameters and buffers on the CPU, packed as safetensors wants them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}


def build(config: TrialConfig, weights: Mapping[str, Tensor] | None = None) -> nn.Module:
    """The model of a trial: float [N, 1, H, W] in 0..1 to logits [N, classes].

    The seed alone decides the random weights; the global generator is neither read nor moved.

    Args:
        config: names the architecture, its sizes and its seed.
        weights: where resnet34 starts, checked by `tune_brain.weights`; its head is left aside for a
            new one. The other architectures always start at random.

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
    """Whether a parameter of a ResNet, by name, belongs to its last layer."""
    return name.startswith("fc.")
