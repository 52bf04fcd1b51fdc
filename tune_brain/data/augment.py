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
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(n)
    # Maps output to input coordinates in -1..1, where a pixel is 2 / W wide and 2 / H high.
    rows = [mirror * cos, -mirror * sin * height / width, zero, sin * width / height, cos, zero]
    theta = torch.stack(rows, dim=1).view(n, 2, 3).to(pixels.device, non_blocking=True)
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return functional.grid_sample(
        pixels.float() / 255, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
