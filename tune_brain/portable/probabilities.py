"""From logits to calibrated probabilities, and from members to their mean.

Every bundle holds a copy of this file, so it imports nothing of tune_brain.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def calibrated(logits: NDArray[Any], temperature: float) -> Floats:
    """[..., C], the softmax of logits [..., C] over a temperature (Guo et al., ICML 2017)."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(-1, keepdims=True))
    shares: Floats = powers / powers.sum(-1, keepdims=True)
    return shares


def logits_of(probabilities: Floats) -> Floats:
    """[..., C], logits of probabilities but for a constant in each line, which a softmax does not see."""
    logits: Floats = np.log(probabilities.clip(np.finfo(np.float64).tiny))
    return logits


def mean(members: Floats, weights: Sequence[float] | Floats) -> Floats:
    """[N, C], the weighted mean of members' probabilities [M, N, C]."""
    mixed: Floats = np.tensordot(np.asarray(weights), members, axes=1)
    return mixed
