"""Sizes and shapes of the images, and what becomes of them when the centre is cut out and resized."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Names = NDArray[np.str_]

SIZES = 2000
"""Different sizes that are listed, the commonest first."""
SIDES = (64, 224)
"""Sides of square images that are told of, in pixels: one for a CPU, and the default of a search."""
ASPECTS = (0.5, 0.7, 0.8, 0.9, 0.97, 1.03, 1.1, 1.25, 1.4, 2.0)
"""Edges of what is counted of width / height; below the first and from the last on is counted as well."""


def dimensions(sizes: Ints, parts: Names) -> list[list[Any]]:
    """Part, width, height and how many images [N, 2] have them, the commonest first."""
    found = Counter((part, *size) for part, size in zip(parts.tolist(), sizes.tolist(), strict=True))
    return [[*size, n] for size, n in found.most_common(SIZES)]


def resizing(sizes: Ints) -> dict[str, Any]:
    """What becomes of images of sizes [N, 2]."""
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
    """By part how many images are how much wider than high, between ASPECTS."""
    place = np.searchsorted(ASPECTS, sizes[:, 0] / sizes[:, 1], "right")
    return {
        part: np.bincount(place[parts == part], minlength=len(ASPECTS) + 1).tolist()
        for part in dict.fromkeys(parts.tolist())
    }


def bands() -> list[str]:
    """What lies between ASPECTS, in words."""
    between = [f"{low:g}-{high:g}" for low, high in pairwise(ASPECTS)]
    return [f"< {ASPECTS[0]:g}", *between, f"> {ASPECTS[-1]:g}"]
