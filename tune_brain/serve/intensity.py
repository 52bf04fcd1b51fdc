"""Map pixel values of any range to 8-bit grey, and limit the size of an image before it is decoded."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.array_types import Bytes
from tune_brain.errors import ImageError
from tune_brain.portable.pictures import MOST_PIXELS

TAILS = (0.5, 99.5)
"""Percentiles that become black and white where a file gives no window."""


def check_extent(size: tuple[int, int], count: int = 1) -> None:
    """Check that an image has at least one pixel, and at most `MOST_PIXELS` in all of its slices together.

    Args:
        size: width and height, in pixels.
        count: slices, or slices times colour channels.

    Raises:
        ImageError: it has none or too many.
    """
    width, height = size
    if min(width, height, count) < 1 or width * height * count > MOST_PIXELS:
        raise ImageError(
            f"An image must have 1 to {MOST_PIXELS:,} pixels, all slices together",
            found=f"{width} x {height} x {count}",
        )


def window_of(values: NDArray[Any]) -> tuple[float, float]:
    """The values to show as black and as white: the percentiles `TAILS`, ignoring NaN."""
    low, high = np.nanpercentile(values.astype(np.float32), TAILS)
    return float(low), float(high)


def to_grey8(values: NDArray[Any], low: float, high: float) -> Bytes:
    """Map low..high linearly to 0..255, clipping values outside; NaN becomes 0.

    Raises:
        ImageError: `low` or `high` is not finite.
    """
    if not np.isfinite([low, high]).all():
        raise ImageError("Pixel values must be finite numbers", found=f"{low} to {high}")
    scaled = np.nan_to_num((values.astype(np.float32) - low) / max(high - low, 1e-12))
    grey: Bytes = np.rint(scaled.clip(0, 1) * 255).astype(np.uint8)
    return grey
