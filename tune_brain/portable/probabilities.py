"""From logits to calibrated probabilities, and from an ensemble's members to their weighted mean.

Every bundle contains a copy of this file, so it imports nothing from tune_brain.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def calibrated(logits: NDArray[Any], temperature: float) -> Floats:
    """Softmax of logits [..., C] divided by a temperature (Guo et al., ICML 2017), in float64."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    probabilities: Floats = powers / powers.sum(-1, keepdims=True)
    return probabilities


def logits_of(probabilities: Floats) -> Floats:
    """Logits of probabilities [..., C], up to a constant per row, to which a softmax is invariant."""
    logits: Floats = np.log(probabilities.clip(np.finfo(np.float64).tiny))
    return logits


def mean(members: Floats, weights: Sequence[float] | Floats) -> Floats:
    """Weighted mean [N, C] of members' probabilities [M, N, C]; the weights [M] add up to 1."""
    mixed: Floats = np.tensordot(np.asarray(weights), members, axes=1)
    return mixed
