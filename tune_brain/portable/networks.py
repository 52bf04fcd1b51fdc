"""The four architectures: one builder each, and inference from grey images to logits.

Every bundle contains a copy of this file, so it imports nothing from tune_brain.
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
# Normalisation of torchvision's pretrained networks, for red, green and blue.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


CPU = torch.device("cpu")


class GreyInput(nn.Module):
    """Normalise grey images and repeat them over the channels that a network expects.

    Args:
        mean: mean of the pixels, one number or one for each channel.
        std: standard deviation of the pixels, as many numbers as `mean`.
        channels: input channels of the first layer.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> None:
        super().__init__()
        self.channels = channels
        # Fixed by the architecture, so not part of the state dict.
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map float [N, 1, H, W] in 0..1 to float [N, channels, H, W]."""
        return ((images - self.mean) * self.scale).expand(-1, self.channels, -1, -1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection (He et al., CVPR 2016, figure 2)."""

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
        # Pooling before ReLU gives the same values, and ReLU then has a quarter of the work.
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
    side = image_size // 2 ** (len(widths) - 1)
    if side > 7:
        # For large images the first linear layer would otherwise hold nearly all of the parameters.
        layers.append(nn.AdaptiveAvgPool2d(7))
    features = widths[-1] * min(side, 7) ** 2
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(features, 256), nn.ReLU(inplace=True), nn.Linear(256, classes)
    )


def _resnet18(classes: int, image_size: int) -> nn.Module:  # noqa: ARG001
    return ResNet18(classes)


def _resnet34(classes: int, image_size: int) -> nn.Module:  # noqa: ARG001
    # Importing torchvision takes a second, which only this architecture has to pay.
    from torchvision.models import resnet34

    net: nn.Module = resnet34(num_classes=classes)
    return net


BUILDERS: dict[str, Callable[[int, int], nn.Module]] = {
    "linear": _linear,
    "cnn": _cnn,
    "resnet18": _resnet18,
    "resnet34": _resnet34,
}
"""Maps (classes, image size) to the network behind `GreyInput`, with random weights."""


def network(arch: str, classes: int, image_size: int) -> nn.Module:
    """Build a network with random weights that maps float [N, 1, H, W] in 0..1 to logits [N, classes]."""
    mean, std = IMAGENET if arch == "resnet34" else GREY
    model = nn.Sequential()
    model.add_module("input", GreyInput(mean, std, 3 if arch.startswith("resnet") else 1))
    model.add_module("net", BUILDERS[arch](classes, image_size))
    return model


INFERENCE = "fp32"
"""The precision of inference, whatever a network was trained in.

On CPUs without bf16 instructions, which most serving machines have, bf16 takes several times as long.
"""


def place(model: nn.Module, device: torch.device, precision: str) -> None:
    """Move a model to a device, in the memory layout that is fastest for convolutions of a precision."""
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

    Rounding depends on the batch size. With `batch=1` the logits of an image are the same, bit for bit,
    whatever other images it comes with.
    """
    images = pixels if isinstance(pixels, Tensor) else view(pixels)
    place(model, device, precision)
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits = [model(chunk.to(device).float() / 255).float() for chunk in torch.split(images, batch)]
        return torch.cat(logits).cpu()


def view(array: NDArray[Any]) -> Tensor:
    """A tensor that shares the memory of an array; it must not be written to.

    The arrays of a search are read-only and shared by all trials of a machine. Torch warns about read-only
    arrays, and a copy for each trial would defeat the sharing.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)
