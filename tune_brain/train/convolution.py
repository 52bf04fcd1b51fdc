"""Faster training of 3x3 convolutions on tiny feature maps in bf16: as matrix products."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear, pad

LIMIT = 9
"""Pixels of the largest output image that is computed as a product.

oneDNN takes nearly as long for four pixels as for sixteen. Up to 3x3 the product is faster on Intel CPUs with
amx_bf16 and on AMD CPUs with avx512_bf16; at 4x4 it gains nothing on the latter if there are few channels
(`tests/benchmarks/steps.py`, results/LOG.md).
"""


def product(images: Tensor, weight: Tensor, stride: int) -> Tensor:
    """A 3x3 convolution with a padding of one pixel, as the product of image patches and weights.

    Args:
        images: [N, C, H, W]; fastest in the channels-last layout.
        weight: [K, C, 3, 3], likewise.
        stride: of both axes.

    Returns:
        [N, K, ceil(H / stride), ceil(W / stride)] in the channels-last layout.
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
    """A 3x3 convolution of images of up to 2x2 pixels, as a dense layer from all pixels to all pixels.

    Each input pixel reaches each output pixel through exactly one kernel element. The other elements of a
    patch, five of nine for images of 2x2 pixels, see nothing but padding, and a dense layer skips them.
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
        """The gradients of images and weight, both in the channels-last layout."""
        flat, matrix = ctx.saved_tensors
        # Under autocast the forward product is in bf16, whatever type the images have.
        gradient = gradient.to(flat.dtype)
        images = (gradient @ matrix).view(ctx.shape).permute(0, 3, 1, 2)
        source, target = (tensor.view(ctx.shape).permute(1, 2, 0, 3) for tensor in (flat, gradient))
        height, width = source.shape[:2]
        # For each kernel element, the gradients of the pixels it writes to and the pixels it reads from.
        kernel = [
            target[max(0, 1 - row) : height + 1 - row, max(0, 1 - column) : width + 1 - column]
            .flatten(0, 2)
            .T
            @ source[max(0, row - 1) : height - 1 + row, max(0, column - 1) : width - 1 + column].flatten(
                0, 2
            )
            for row in range(3)
            for column in range(3)
        ]
        weight = torch.stack(kernel, 1).view(-1, 3, 3, source.shape[-1]).permute(0, 3, 1, 2)
        return images, weight


def dense(images: Tensor, weight: Tensor) -> Tensor:
    """A 3x3 convolution with a stride and a padding of one pixel, for images of up to 2x2 pixels.

    Args:
        images: [N, C, H, W]; fastest in the channels-last layout.
        weight: [K, C, 3, 3], likewise; converted to the type of the images.

    Returns:
        [N, K, H, W] in the channels-last layout.
    """
    result: Tensor = _Dense.apply(images, weight.to(images.dtype))
    count, _, height, width = images.shape
    # Not in `_Dense`: a view that an autograd function returns must not be modified in place.
    return result.view(count, height, width, -1).permute(0, 3, 1, 2)


class SmallConv2d(nn.Conv2d):
    """A 3x3 convolution that in training, for outputs of up to `LIMIT` pixels, is computed as a product."""

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
    """Replace the 3x3 convolutions of a model, in place, by `SmallConv2d` that share their parameters.

    Meant for bf16 on a CPU: fp32 gains nothing, and GPUs have their own kernels. In eval mode the model's
    results do not change by a bit.
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
