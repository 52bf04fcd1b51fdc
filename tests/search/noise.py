"""Images that show nothing, for what does not depend on what they show."""

import numpy as np

from tune_brain.data.arrays import Development, Images


def images(n: int, size: int = 16) -> Images:
    generator = np.random.default_rng(n)
    return Images(
        pixels=generator.integers(0, 256, (n, 1, size, size), np.uint8),
        labels=np.arange(n) % 2,
        thumbnails=generator.integers(0, 256, (n, 32, 32), np.uint8),
    )


DEVELOPMENT = Development(classes=("a", "b"), train=images(24), validation=images(8))
