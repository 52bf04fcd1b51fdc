"""The uncertainty of a table: how much its configurations truly differ, and how much its seeds leave open.

The effect of other seeds is estimated with tables drawn from the surrogate of the real one, whose truth is
known.
"""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.search.outcomes import place
from tune_brain.search.surrogate import Surrogate

Floats = NDArray[np.float64]
PARTS = {"all": 1.0, "better half": 0.5, "best quarter": 0.25}
DRAWN = 20
"""Tables drawn from the surrogate."""


def own_deviations(scores: Floats) -> dict[str, float]:
    """Standard deviation of the configurations' true scores, over all of them and over the better ones.

    The better half and the best quarter are selected by two seeds. The variance is the covariance of two
    other seeds, which is free of seed noise. Averaged over all ways to choose two of four seeds; empty if
    there are fewer than four.

    Args:
        scores: [n, seeds] at full length.
    """
    full = scores[np.isfinite(scores[:, :4]).all(axis=1), :4]
    if full.shape[1] < 4:
        return {}
    deviations = {}
    for part, share in PARTS.items():
        covariances = []
        for selecting in itertools.combinations(range(4), 2):
            held_out = [seed for seed in range(4) if seed not in selecting]
            mean = full[:, selecting].mean(axis=1)
            first, second = full[mean >= np.quantile(mean, 1 - share)][:, held_out].T
            covariances.append(np.cov(first, second)[0, 1])
        deviations[part] = round(math.sqrt(max(0.0, float(np.mean(covariances)))), 4)
    return deviations


def certainty(surrogate: Surrogate) -> dict[str, Any]:
    """True deviations of a table and of tables drawn from its surrogate, and the error of its truth.

    The error is the root mean square over the better half of the configurations. The spread is the standard
    deviation of the truth there.
    """
    full, places, space = surrogate.outcomes.full_length, surrogate.outcomes.places, surrogate.outcomes.space
    truth, scores = surrogate.truth, surrogate.outcomes.scores[full]
    residuals = surrogate._noise[full][np.isfinite(surrogate._noise[full])]
    better = truth >= np.median(truth)
    baseline = int(np.argmin(np.linalg.norm(places - place(space, space.baseline), axis=1)))
    rng, errors, deviations = np.random.default_rng(0), [], []
    for _ in range(DRAWN):
        noise = rng.choice(residuals, scores.shape) * rng.choice((-1, 1), scores.shape)
        drawn = np.where(np.isfinite(scores), truth[:, None] + noise, np.nan)
        deviations.append(own_deviations(drawn))
        errors.append(Surrogate(dataclasses.replace(surrogate.outcomes, scores={full: drawn})).truth - truth)
    error = np.array(errors)
    return {
        "own deviations": own_deviations(scores),
        "own deviations of drawn tables, 5 and 95 %": {
            part: np.quantile([drawn[part] for drawn in deviations], (0.05, 0.95)).round(4).tolist()
            for part in deviations[0]
        },
        "error of the truth": round(float(np.sqrt(np.mean(error[:, better] ** 2))), 4),
        "spread of the truth": round(float(np.std(truth[better])), 4),
        "error of the better half less the baseline": round(
            float(np.std(error[:, better].mean(axis=1) - error[:, baseline])), 4
        ),
        "best less baseline": round(float(truth.max() - truth[baseline]), 4),
    }
