"""The four architectures as networks: grey images in, logits out, one builder each.

Every bundle holds a copy of this file, so it imports nothing of tune_brain.
"""

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# Mean and standard deviation of grey MRI slices with their dark margins, on the scale 0..1.
GREY = ((0.18,), (0.18,))
# What torchvision's pretrained networks were trained with, for red, green and blue.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


CPU = torch.device("cpu")


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


def network(arch: str, classes: int, image_size: int) -> nn.Module:
    """An architecture with random weights: float [N, 1, H, W] in 0..1 to logits [N, classes]."""
    mean, std = IMAGENET if arch == "resnet34" else GREY
    model = nn.Sequential()
    model.add_module("input", GreyInput(mean, std, 3 if arch.startswith("resnet") else 1))
    model.add_module("net", BUILDERS[arch](classes, image_size))
    return model


INFERENCE = "fp32"
"""The precision in which a trained network speaks, whatever it was trained in.

Where a CPU has no instructions for bf16, as most that serve have not, it takes several times as long there.
"""


def place(model: nn.Module, device: torch.device, precision: str) -> None:
    """Move a model to a device, its convolutions in the memory layout that suits the precision."""
    layout = torch.channels_last if precision == "bf16" else torch.contiguous_format
    model.to(device).to(memory_format=layout)


def predict(
    model: nn.Module,
    pixels: NDArray[np.uint8] | Tensor,
    device: torch.device,
    precision: str,
    *,
    batch: int = 128,
) -> Tensor:
    """Logits float32 [N, classes] on the CPU for images uint8 [N, 1, H, W]; leaves the model in eval mode.

    Sums are rounded differently in batches of another size: one image at a time (`batch=1`) gives an image
    the same logits, bit for bit, in whatever company it comes.
    """
    images = pixels if isinstance(pixels, Tensor) else view(pixels)
    place(model, device, precision)
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits = [model(chunk.to(device).float() / 255).float() for chunk in torch.split(images, batch)]
        return torch.cat(logits).cpu()


def view(array: NDArray[Any]) -> Tensor:
    """A tensor on the memory of an array; it must not be written to.

    The arrays of a search are read-only and shared by all trials of a machine. Torch warns of the one, and
    a copy for each trial would undo the other.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)
