"""The order in which a trial sees its images."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def training_batches(n: int, batch_size: int, generator: "Generator") -> Iterator["Tensor"]:
    """Yield indices of n images in a new random order, batch by batch: int64 [B].

    A final batch of a single image, on which batch normalisation fails, is merged into the batch before it.

    Args:
        n: number of images.
        batch_size: images per batch.
        generator: on the CPU, so that a seed gives the same order on every device.
    """
    import torch  # Imported here because the pages of a run need `steps_per_epoch` alone.

    order = torch.randperm(n, generator=generator)
    steps = steps_per_epoch(n, batch_size)
    for step in range(steps):
        yield order[step * batch_size : (step + 1) * batch_size if step < steps - 1 else n]


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Number of batches that `training_batches` makes of n images."""
    steps = -(-n // batch_size)
    return steps - 1 if steps > 1 and n % batch_size == 1 else steps
