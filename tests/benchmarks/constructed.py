"""Ending a converged study, the expected score and a warm start, replayed where truth and noise are known.

    python tests/benchmarks/constructed.py [--quick] [--repeats 40]

A made-up study of the cnn's space: a smooth score with one best, 60 configurations known, seeds that scatter
by .012, .011 and .010 after 3, 6 and 12 epochs. The earlier search of the warm start saw the same truth with
other noise. What real tables say is told by tests/benchmarks/replay.py.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import measure
import numpy as np

from tune_brain.config import RunConfig
from tune_brain.report.replays import summary
from tune_brain.search.outcomes import Outcomes, place
from tune_brain.search.replay import replay
from tune_brain.search.sampler import StudySampler
from tune_brain.search.study import Study
from tune_brain.search.surrogate import Surrogate
from tune_brain.space import Space, default_folder, load
from tune_brain.stages.replay import Variant, replay_each
from tune_brain.stages.warm import beginning, best_first

LADDER, KNOWN = (3, 6, 12), 60
NOISE = {3: 0.012, 6: 0.011, 12: 0.010}
LESS = {3: 0.08, 6: 0.03, 12: 0.0}
"""By how much shorter trials score less."""
WAYS = (
    {"sampler": "random", "ladder": (12,)},
    {},
    {"until_converged": True},
    {"final_round": (3, 2)},
    {"final_round": (3, 2), "until_converged": True},
    {"configs": 24},
    {"configs": 24, "warm_start": True},
)


def outcomes(seed: int) -> Outcomes:
    """The made-up study; the seed is that of its configurations and of its noise."""
    space, rng = load(default_folder(), ("cnn",))["cnn"], np.random.default_rng(seed)
    halton = StudySampler(space, LADDER, seed=seed, sampler="halton")
    values = [halton.suggest(Study(), number) for number in range(1, KNOWN + 1)]
    places = np.array([place(space, one) for one in values])
    true = 0.9 - np.minimum(((places - [0.62, 0.4, 0.5]) ** 2) @ [0.35, 0.05, 0.05], 0.3)
    scores = {
        length: (true - LESS[length])[:, None] + rng.normal(0, noise, (KNOWN, 2 if length == 12 else 1))
        for length, noise in NOISE.items()
    }
    return Outcomes(
        space=space,
        places=places,
        scores=scores,
        cycles=dict.fromkeys(scores),
        curves=np.full((KNOWN, 1, 12), np.nan),
        seconds=4.0,
    )


def begins_with_the_best(space: Space) -> Space:
    """The space, beginning with what an earlier search found best."""
    asked = RunConfig(out=Path(), arch=("cnn",), configs=24, ladder=LADDER, seed=1000)
    rows = [ended.row for ended in replay(Surrogate(outcomes(0)), asked, 2)]
    return beginning(space, best_first(rows, asked.epochs))


def main() -> None:
    options = measure.parser(__doc__)
    options.set_defaults(repeats=40)
    asked = options.parse_args()
    repeats = 5 if asked.quick else asked.repeats
    made = outcomes(1)
    made = dataclasses.replace(made, space=begins_with_the_best(made.space))
    surrogate = Surrogate(made)
    default = {"sampler": "tpe", "ladder": LADDER, "configs": 64, "slots": 2, "final_round": (0, 0)}
    variants = [Variant.model_validate({**default, **way}) for way in WAYS]
    told = replay_each(surrogate, [(variant, seed) for variant in variants for seed in range(repeats)])
    found = [{"name": variant.name, "repeats": list(itertools.islice(told, repeats))} for variant in variants]
    lines = summary({"best": surrogate.best, "noise": surrogate.noise, "variants": found}).round(4)
    result = {
        "repeats": repeats,
        "tried first": len(made.space.first),
        "ways": lines.astype(object).where(lines.notna(), None).to_dict("records"),
        "against the way before it": {
            found[changed]["name"]: pair(found[changed], found[plain])
            for changed, plain in ((2, 1), (4, 3), (6, 5))
        },
    }
    measure.tell("constructed", result, quick=asked.quick)


def pair(changed: dict[str, Any], plain: dict[str, Any]) -> dict[str, float]:
    """The change of the realised score with its standard error, and of the epochs, replay by replay."""
    both = list(zip(changed["repeats"], plain["repeats"], strict=True))
    scores = [one["realised"] - other["realised"] for one, other in both]
    epochs = [one["epochs"][-1] / other["epochs"][-1] for one, other in both]
    return {
        "score": round(float(np.mean(scores)), 5),
        "standard error": round(float(np.std(scores, ddof=1) / len(scores) ** 0.5), 5),
        "share of the epochs": round(float(np.mean(epochs)), 3),
    }


if __name__ == "__main__":
    main()
