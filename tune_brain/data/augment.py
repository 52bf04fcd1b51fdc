"""Random rotation and flipping of a batch, on the device that holds the batch."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def augment(pixels: Tensor, *, rotation: float, flip: float, generator: torch.Generator) -> Tensor:
    """Rotate every image by its own random angle and flip some left to right, in one bilinear resampling.

    Args:
        pixels: uint8 [B, 1, H, W].
        rotation: largest angle in either direction, in degrees; angles are drawn uniformly.
        flip: probability of a horizontal flip.
        generator: on the CPU whatever the device of the pixels, so that a seed gives the same draws
            everywhere.

    Returns:
        float32 [B, 1, H, W] in 0..1, zero where a rotation exposes pixels outside the image.
    """
    n, _, height, width = pixels.shape
    angle = (torch.rand(n, generator=generator) * 2 - 1) * math.radians(rotation)
    mirror = 1 - 2 * (torch.rand(n, generator=generator) < flip).float()
    cos, sin = angle.cos(), angle.sin()
    # Maps output pixels, counted from the centre, to input coordinates: -1..1, so a pixel is 2 / W wide.
    rows = [mirror * cos / width, -mirror * sin / width, sin / height, cos / height]
    xx, xy, yx, yy = (2 * torch.stack(rows)).to(pixels.device, non_blocking=True).view(4, n, 1, 1)
    x = (torch.arange(width, device=pixels.device) - (width - 1) / 2).view(1, width)
    y = (torch.arange(height, device=pixels.device) - (height - 1) / 2).view(height, 1)
    # affine_grid takes three times as long, since it multiplies an array of three columns for each image.
    # Planes of x and of y, not pairs, because grid_sample is faster with them.
    grid = torch.stack((xx * x + xy * y, yx * x + yy * y), dim=1).permute(0, 2, 3, 1)
    return functional.grid_sample(
        pixels.float() / 255, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
