"""Statistics of image sizes and shapes, and of what cropping to the centre and resizing change."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np

from tune_brain.array_types import Ints, Names

SIZES = 2000
"""Largest number of different sizes listed, the most common first."""
SIDES = (64, 224)
"""Sides of the prepared images for which resizing is reported, in pixels: one for a CPU, and the default."""
ASPECTS = (0.5, 0.7, 0.8, 0.9, 0.97, 1.03, 1.1, 1.25, 1.4, 2.0)
"""Edges of the histogram of width / height, which also has a bin below the first and above the last edge."""


def dimensions(sizes: Ints, parts: Names) -> list[list[Any]]:
    """Lists of part, width, height and number of images, the most common first.

    Args:
        sizes: [N, 2], width and height of each image, in pixels.
        parts: [N], part of each image.
    """
    counts = Counter((part, *size) for part, size in zip(parts.tolist(), sizes.tolist(), strict=True))
    return [[*size, n] for size, n in counts.most_common(SIZES)]


def resizing(sizes: Ints) -> dict[str, Any]:
    """What cropping to the centre square cuts off, and how many images are then enlarged or shrunk.

    Args:
        sizes: [N, 2], width and height of each image, in pixels.

    Returns:
        `sizes`: number of different sizes; `cut`: mean and largest share of an image that is cut off;
        `sides`: for each of `SIDES`, how many images are enlarged, kept or shrunk.
    """
    shorter, longer = sizes.min(1), sizes.max(1)
    lost = 1 - shorter / longer
    return {
        "sizes": len(np.unique(sizes, axis=0)),
        "cut": {"mean": round(float(lost.mean()), 4), "most": round(float(lost.max()), 4)},
        "sides": {
            str(side): {
                "enlarged": int((shorter < side).sum()),
                "kept": int((shorter == side).sum()),
                "shrunk": int((shorter > side).sum()),
            }
            for side in SIDES
        },
    }


def aspects(sizes: Ints, parts: Names) -> dict[str, list[int]]:
    """For each part, the histogram of width / height over the bins of `ASPECTS`.

    Args:
        sizes: [N, 2], width and height of each image, in pixels.
        parts: [N], part of each image.
    """
    place = np.searchsorted(ASPECTS, sizes[:, 0] / sizes[:, 1], "right")
    return {
        part: np.bincount(place[parts == part], minlength=len(ASPECTS) + 1).tolist()
        for part in dict.fromkeys(parts.tolist())
    }


def bands() -> list[str]:
    """Labels of the bins of `ASPECTS`."""
    between = [f"{low:g}-{high:g}" for low, high in pairwise(ASPECTS)]
    return [f"< {ASPECTS[0]:g}", *between, f"> {ASPECTS[-1]:g}"]
