"""The four architectures: grey images in, logits out, one builder each."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from tune_brain.config import PRETRAINED, TrialConfig, check_precision
from tune_brain.errors import ConfigError
from tune_brain.seeds import derive

# Mean and standard deviation of grey MRI slices with their dark margins, on the scale 0..1.
GREY = ((0.18,), (0.18,))
# What torchvision's pretrained networks were trained with, for red, green and blue.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class GreyInput(nn.Module):
    """Normalises grey images and repeats them over the channels that a network expects.

    Args:
        mean: one number, or one for each channel.
        std: as many numbers as `mean`.
        channels: what the first layer takes.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> None:
        super().__init__()
        self.channels = channels
        # Decided by the architecture and never trained, so no part of the weights.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map float [N, 1, H, W] in 0..1 to float [N, channels, H, W]."""
        return ((images - self.mean) * self.scale).expand(-1, self.channels, -1, -1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a way around them (He et al., CVPR 2016, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Identity()
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu(residual + self.downsample(x))
        return out


class ResNet18(nn.Module):
    """ResNet-18 (He et al., CVPR 2016, table 1) on float [N, 3, H, W], with torchvision's parameter names."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64, 1), ResidualBlock(64, 64, 1))
        self.layer2 = nn.Sequential(ResidualBlock(64, 128, 2), ResidualBlock(128, 128, 1))
        self.layer3 = nn.Sequential(ResidualBlock(128, 256, 2), ResidualBlock(256, 256, 1))
        self.layer4 = nn.Sequential(ResidualBlock(256, 512, 2), ResidualBlock(512, 512, 1))
        self.fc = nn.Linear(512, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, 3, H, W] to logits [N, classes]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _linear(classes: int, image_size: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(image_size**2, 512),
        nn.ReLU(inplace=True),
        nn.Linear(512, 128),
        nn.ReLU(inplace=True),
        nn.Linear(128, classes),
    )


def _cnn(classes: int, image_size: int) -> nn.Module:
    widths = (1, 32, 64, 128, 256)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        # Pooled before ReLU: the same values as after it, from a quarter of the work.
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
    side = image_size // 2 ** (len(widths) - 1)
    if side > 7:
        # Bounds the first linear layer, which would hold nearly all parameters of a net for large images.
        layers.append(nn.AdaptiveAvgPool2d(7))
    features = widths[-1] * min(side, 7) ** 2
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(features, 256), nn.ReLU(inplace=True), nn.Linear(256, classes)
    )


def _resnet18(classes: int, image_size: int) -> nn.Module:  # noqa: ARG001
    return ResNet18(classes)


def _resnet34(classes: int, image_size: int) -> nn.Module:  # noqa: ARG001
    # A second that only this architecture needs.
    from torchvision.models import resnet34

    net: nn.Module = resnet34(num_classes=classes)
    return net


BUILDERS: dict[str, Callable[[int, int], nn.Module]] = {
    "linear": _linear,
    "cnn": _cnn,
    "resnet18": _resnet18,
    "resnet34": _resnet34,
}
"""(classes, image size) -> the network behind `GreyInput`, with random weights."""


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
        net = BUILDERS[config.arch](config.classes, config.image_size)
    if config.arch == PRETRAINED and weights is not None:
        net.load_state_dict(
            {name: value for name, value in weights.items() if not is_head(name)}, strict=False
        )
    mean, std = IMAGENET if config.arch == PRETRAINED else GREY
    channels = 3 if config.arch.startswith("resnet") else 1
    model = nn.Sequential()
    model.add_module("input", GreyInput(mean, std, channels))
    model.add_module("net", net)
    return model


def is_head(name: str) -> bool:
    """Whether a parameter of a ResNet, by name, belongs to its last layer."""
    return name.startswith("fc.")
