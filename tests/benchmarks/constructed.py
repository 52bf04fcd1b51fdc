"""Convergence, the final round and the warm start, replayed on a study whose truth and noise are known.

    python tests/benchmarks/constructed.py [--quick] [--repeats 40]

A synthetic study of the cnn's space: a smooth score with one optimum, 60 known configurations, and noise
between seeds of .012, .011 and .010 after 3, 6 and 12 epochs. The earlier search of the warm start has the
same truth with other noise. For real tables see tests/benchmarks/replay.py.
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
from tune_brain.stages.warm import best_first, starting_with

LADDER, KNOWN = (3, 6, 12), 60
NOISE = {3: 0.012, 6: 0.011, 12: 0.010}
LESS = {3: 0.08, 6: 0.03, 12: 0.0}
"""How much lower trials of each length score."""
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
    """The synthetic study; the seed decides its configurations and its noise."""
    space, rng = load(default_folder(), ("cnn",))["cnn"], np.random.default_rng(seed)
    halton = StudySampler(space, LADDER, seed=seed, sampler="halton")
    values = [halton.suggest(Study(), number) for number in range(1, KNOWN + 1)]
    places = np.array([place(space, of_one) for of_one in values])
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


def warm_started(space: Space) -> Space:
    """The space with the best configurations of an earlier search as its first ones."""
    config = RunConfig(out=Path(), arch=("cnn",), configs=24, ladder=LADDER, seed=1000)
    rows = [ended.row for ended in replay(Surrogate(outcomes(0)), config, 2)]
    return starting_with(space, best_first(rows, config.full_length))


def main() -> None:
    options = measure.parser(__doc__)
    options.set_defaults(repeats=40)
    args = options.parse_args()
    repeats = 5 if args.quick else args.repeats
    study = outcomes(1)
    study = dataclasses.replace(study, space=warm_started(study.space))
    surrogate = Surrogate(study)
    default = {"sampler": "tpe", "ladder": LADDER, "configs": 64, "slots": 2, "final_round": (0, 0)}
    variants = [Variant.model_validate({**default, **way}) for way in WAYS]
    replays = replay_each(surrogate, [(variant, seed) for variant in variants for seed in range(repeats)])
    results = [
        {"name": variant.name, "repeats": list(itertools.islice(replays, repeats))} for variant in variants
    ]
    lines = summary({"best": surrogate.best, "noise": surrogate.noise, "variants": results}).round(4)
    result = {
        "repeats": repeats,
        "tried first": len(study.space.first),
        "ways": lines.astype(object).where(lines.notna(), None).to_dict("records"),
        "against the way before it": {
            results[changed]["name"]: pair(results[changed], results[plain])
            for changed, plain in ((2, 1), (4, 3), (6, 5))
        },
    }
    measure.report("constructed", result, quick=args.quick)


def pair(changed: dict[str, Any], plain: dict[str, Any]) -> dict[str, float]:
    """The change of the realised score with its standard error, and of the epochs, paired by replay."""
    pairs = list(zip(changed["repeats"], plain["repeats"], strict=True))
    scores = [after["realised"] - before["realised"] for after, before in pairs]
    epochs = [after["epochs"][-1] / before["epochs"][-1] for after, before in pairs]
    return {
        "score": round(float(np.mean(scores)), 5),
        "standard error": round(float(np.std(scores, ddof=1) / len(scores) ** 0.5), 5),
        "share of the epochs": round(float(np.mean(epochs)), 3),
    }


if __name__ == "__main__":
    main()
