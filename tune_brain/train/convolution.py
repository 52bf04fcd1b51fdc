"""Convolutions of images that are hardly larger than a pixel, trained as matrix products."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, pad

LIMIT = 9
"""Pixels of an output image. oneDNN takes nearly as long for four of them as for sixteen. Up to 3x3 the
product gains on CPUs of Intel with amx_bf16 and of AMD with avx512_bf16; at 4x4 the latter gain nothing
where channels are few (`tests/benchmarks/steps.py`, results/LOG.md)."""


def product(images: Tensor, weight: Tensor, stride: int) -> Tensor:
    """A 3x3 convolution with a padding of one pixel, as a product of its patches with its weights.

    Args:
        images: [N, C, H, W]; fastest in the channels-last layout.
        weight: [K, C, 3, 3], likewise.
        stride: of both axes.

    Returns:
        [N, K, ceil(H / stride), ceil(W / stride)], channels last.
    """
    height, width = images.shape[2:]
    padded = pad(images.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    shifted = [
        padded[:, row : row + height : stride, column : column + width : stride]
        for row in range(3)
        for column in range(3)
    ]
    return linear(torch.cat(shifted, dim=3), weight.permute(0, 2, 3, 1).flatten(1)).permute(0, 3, 1, 2)


class _Dense(torch.autograd.Function):
    """A 3x3 convolution of images of up to 2x2 pixels as a dense layer from all of them to all.

    Every pixel meets every other there, each pair at one place of the kernel; the other places of a patch,
    five of nine where the image has 2x2 pixels, only meet the padding.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        """Map [N, C, H, W] and [K, C, 3, 3] to [N, H * W * K]."""
        pixels, kernel = images.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1)
        count, height, width, _ = pixels.shape
        windows = [
            kernel[:, 1 - row : 1 - row + height, 1 - column : 1 - column + width]
            for row in range(height)
            for column in range(width)
        ]
        matrix = torch.stack(windows).view(height * width * len(kernel), -1)
        flat = pixels.reshape(count, -1)
        ctx.save_for_backward(flat, matrix)
        ctx.shape = count, height, width, -1
        return flat @ matrix.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of images and weight, each in the order of the channels-last layout."""
        flat, matrix = ctx.saved_tensors
        # Under autocast the product is in bf16, whatever the images are in.
        gradient = gradient.to(flat.dtype)
        images = (gradient @ matrix).view(ctx.shape).permute(0, 3, 1, 2)
        seen, made = flat.view(ctx.shape).permute(1, 2, 0, 3), gradient.view(ctx.shape).permute(1, 2, 0, 3)
        height, width = seen.shape[:2]
        # For each place of the kernel, the pixels that it takes from and those that it gives to.
        kernel = [
            made[max(0, 1 - row) : height + 1 - row, max(0, 1 - column) : width + 1 - column].flatten(0, 2).T
            @ seen[max(0, row - 1) : height - 1 + row, max(0, column - 1) : width - 1 + column].flatten(0, 2)
            for row in range(3)
            for column in range(3)
        ]
        weight = torch.stack(kernel, 1).view(-1, 3, 3, seen.shape[-1]).permute(0, 3, 1, 2)
        return images, weight


def dense(images: Tensor, weight: Tensor) -> Tensor:
    """A 3x3 convolution with a stride and a padding of one pixel, for images of up to 2x2 pixels.

    Args:
        images: [N, C, H, W]; fastest in the channels-last layout.
        weight: [K, C, 3, 3], likewise; taken in the numbers of the images, bf16 where they are.

    Returns:
        [N, K, H, W], channels last.
    """
    result: Tensor = _Dense.apply(images, weight.to(images.dtype))
    count, _, height, width = images.shape
    # Out here: what a function of its own returns as a view may not be changed in place.
    return result.view(count, height, width, -1).permute(0, 3, 1, 2)


class SmallConv2d(nn.Conv2d):
    """A 3x3 convolution that trains on images of up to `LIMIT` pixels as a product; else like its parent."""

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, K, H / stride, W / stride]."""
        stride = self.stride[0]
        height, width = (-(-side // stride) for side in images.shape[2:])
        if not self.training or height * width > LIMIT:
            return super().forward(images)
        if stride == 1 and max(height, width) <= 2:
            return dense(images, self.weight)
        return product(images, self.weight, stride)


def speed_up(model: nn.Module) -> None:
    """Replace the 3x3 convolutions of a model by `SmallConv2d`, which share its parameters.

    For bf16 on a CPU: in fp32 nothing is gained, and a GPU has kernels of its own. In eval mode the model
    computes what it did, to the last bit.
    """
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Conv2d and _is_plain(layer):
                small = SmallConv2d(
                    layer.in_channels, layer.out_channels, 3, layer.stride[0], 1, bias=False, device="meta"
                )
                small.weight = layer.weight
                setattr(parent, name, small.train(layer.training))


def _is_plain(layer: nn.Conv2d) -> bool:
    sizes = (layer.kernel_size, layer.padding, layer.dilation, layer.groups)
    plain = sizes == ((3, 3), (1, 1), (1, 1), 1) and layer.padding_mode == "zeros" and layer.bias is None
    return plain and len(set(layer.stride)) == 1
