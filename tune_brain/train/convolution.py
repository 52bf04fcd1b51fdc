"""Convolutions of images that are hardly larger than a pixel, trained as one matrix product."""

import torch
from torch import Tensor, nn
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


class SmallConv2d(nn.Conv2d):
    """A 3x3 convolution that trains on images of up to `LIMIT` pixels as a product; else like its parent."""

    def forward(self, images: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, K, H / stride, W / stride]."""
        height, width = (-(-side // self.stride[0]) for side in images.shape[2:])
        if self.training and height * width <= LIMIT:
            return product(images, self.weight, self.stride[0])
        return super().forward(images)


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
