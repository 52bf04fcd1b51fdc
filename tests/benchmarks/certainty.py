"""How sure a table is of its configurations: how far they differ, and what its seeds leave open.

What other seeds might have said is told by tables that are drawn from the surrogate of the real one, whose
truth is then known.
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
"""Tables."""


def own_deviations(scores: Floats) -> dict[str, float]:
    """Standard deviation of what configurations are worth: of all and of the better.

    Those are the better half and the best quarter by two seeds; the deviation is told by the covariance of
    two others, in which no seed's noise is. The mean over the ways to choose two of four; nothing where there
    are fewer.

    Args:
        scores: [n, seeds] at full length.
    """
    full = scores[np.isfinite(scores[:, :4]).all(axis=1), :4]
    if full.shape[1] < 4:
        return {}
    found = {}
    for part, share in PARTS.items():
        shared = []
        for one in itertools.combinations(range(4), 2):
            other = [seed for seed in range(4) if seed not in one]
            mean = full[:, one].mean(axis=1)
            first, second = full[mean >= np.quantile(mean, 1 - share)][:, other].T
            shared.append(np.cov(first, second)[0, 1])
        found[part] = round(math.sqrt(max(0.0, float(np.mean(shared)))), 4)
    return found


def certainty(own: Surrogate) -> dict[str, Any]:
    """Own deviations of a table and of tables drawn from its surrogate, and how far its truth may be off.

    The error is the root of the mean square over the better half, `spread` how far the truth differs there.
    """
    full, places, space = own.outcomes.full_length, own.outcomes.places, own.outcomes.space
    truth, scores = own.truth, own.outcomes.scores[full]
    residuals = own._noise[full][np.isfinite(own._noise[full])]
    better = truth >= np.median(truth)
    baseline = int(np.argmin(np.linalg.norm(places - place(space, space.baseline), axis=1)))
    rng, errors, deviations = np.random.default_rng(0), [], []
    for _ in range(DRAWN):
        noise = rng.choice(residuals, scores.shape) * rng.choice((-1, 1), scores.shape)
        drawn = np.where(np.isfinite(scores), truth[:, None] + noise, np.nan)
        deviations.append(own_deviations(drawn))
        errors.append(Surrogate(dataclasses.replace(own.outcomes, scores={full: drawn})).truth - truth)
    error = np.array(errors)
    return {
        "own deviations": own_deviations(scores),
        "own deviations of drawn tables, 5 and 95 %": {
            part: np.quantile([one[part] for one in deviations], (0.05, 0.95)).round(4).tolist()
            for part in deviations[0]
        },
        "error of the truth": round(float(np.sqrt(np.mean(error[:, better] ** 2))), 4),
        "spread of the truth": round(float(np.std(truth[better])), 4),
        "error of the better half less the baseline": round(
            float(np.std(error[:, better].mean(axis=1) - error[:, baseline])), 4
        ),
        "best less baseline": round(float(truth.max() - truth[baseline]), 4),
    }
