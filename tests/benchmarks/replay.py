"""Which search finds more for its epochs: this one's choices and its peers, replayed on committed tables.

    python tests/benchmarks/replay.py [--quick] [--table sartaj-cnn] [--tables results/tables]

A table is a set of runs of `tests/benchmarks/tables.py`: full-length trials with two seeds, and complete
shorter cycles, of the same configurations. Every way is replayed --repeats times (100); the yardstick is 64
random configurations, all at full length. How the rungs rank configurations is told beside it.
"""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import measure
import numpy as np
import peers
from scipy.stats import spearmanr

from tune_brain.report.replays import summary
from tune_brain.search import ladder, sampler
from tune_brain.search.outcomes import Outcomes, read_outcomes
from tune_brain.search.surrogate import Surrogate, rank_errors
from tune_brain.stages.replay import Variant, replay_once

TRIALS, SLOTS = 64, 2
DEFAULT = {"sampler": "tpe", "ladder": (3, 6, 12), "configs": TRIALS, "slots": SLOTS, "final_round": (0, 0)}
PATCHES = {"promoted share": (ladder, "PROMOTED_SHARE"), "random start": (sampler, "STARTUP")}


def ways() -> Iterator[tuple[str, str, dict[str, Any], dict[str, int]]]:
    """Of each its question, its name, how its variant differs, and what it sets in the product."""
    yield "yardstick", "random, full length", {"sampler": "random", "ladder": (12,)}, {}
    for rungs in ((12,), (6, 12), (3, 12), (1, 12), (3, 6, 12), (1, 3, 12), (1, 3, 6, 12)):
        yield "rungs", ",".join(map(str, rungs)), {"ladder": rungs}, {}
    for share in (2, 4, 6):
        yield "promoted share", f"one in {share}", {}, {"promoted share": share}
    for name in ("random", "halton", "halton-tpe", "gp"):
        yield "sampler", name, {"sampler": name}, {}
    for start in (5, 20):
        yield "random start", f"{start} configurations", {}, {"random start": start}
    for slots in (1, 8, 32):
        yield "slots", str(slots), {"slots": slots}, {}
    for final in ((2, 1), (3, 1), (3, 2), (5, 2), (5, 4)):
        yield "final round", f"{final[0]}x{final[1]}", {"final_round": final}, {}


_surrogates: tuple[Surrogate, Surrogate]


def _take(*surrogates: Surrogate) -> None:
    global _surrogates
    _surrogates = surrogates


def _own(job: tuple[dict[str, Any], dict[str, int], int]) -> dict[str, Any]:
    changed, patches, seed = job
    for name, (module, constant) in PATCHES.items():
        setattr(module, constant, patches.get(name, _UNPATCHED[name]))
    return replay_once(_surrogates[0], Variant.model_validate({**DEFAULT, **changed}), seed)


def _peer(job: tuple[str, int]) -> dict[str, Any]:
    return peers.repeat(_surrogates[1], job[0], TRIALS, SLOTS, job[1])


_UNPATCHED = {name: getattr(module, constant) for name, (module, constant) in PATCHES.items()}


def cuts(outcomes: Outcomes) -> Outcomes:
    """The scores after each epoch of the full cycle, as if each were a length."""
    epochs = outcomes.curves.shape[1]
    scores = {epoch: outcomes.curves[:, [epoch - 1]] for epoch in range(1, epochs)}
    return dataclasses.replace(outcomes, scores={**scores, epochs: outcomes.scores[epochs]})


def rankings(outcomes: Outcomes) -> dict[str, float]:
    """Spearman's correlation with another seed's full-length score: of shorter cycles, cuts, a first seed."""
    first, second = outcomes.scores[outcomes.full_length][:, :2].T
    lengths = {f"complete {length}": scores[:, 0] for length, scores in outcomes.scores.items()}
    columns = {**lengths, **{f"cut at {epoch}": outcomes.curves[:, epoch - 1] for epoch in (1, 3, 6, 9)}}
    found = {}
    for name, column in columns.items():
        known = np.isfinite(column) & np.isfinite(second)
        found[name] = round(float(spearmanr(column[known], second[known]).statistic), 3)
    return found | {"n": int(np.isfinite(first + second).sum())}


def main() -> None:
    options = measure.parser(__doc__)
    options.set_defaults(repeats=100)
    options.add_argument("--tables", type=Path, default=measure.ROOT / "results" / "tables")
    options.add_argument("--table", action="append")
    asked = options.parse_args()
    repeats = 10 if asked.quick else asked.repeats
    runs: dict[str, list[Path]] = {}
    for file in sorted(asked.tables.glob("*/run.toml")):
        runs.setdefault(file.parent.name.rpartition("-")[0], []).append(file.parent)
    for name in asked.table or runs:
        outcomes = read_outcomes(runs[name], name.rpartition("-")[2])
        own, cut = Surrogate(outcomes), Surrogate(cuts(outcomes))
        pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_take, initargs=(own, cut))
        known = [way for way in ways() if set(way[2].get("ladder", (12,))) <= set(outcomes.scores)]
        with pool:
            variants = [
                {
                    "name": f"{question}: {name}",
                    "repeats": list(pool.map(_own, [(changed, patches, seed) for seed in range(repeats)])),
                }
                for question, name, changed, patches in known
            ]
            variants += [
                {
                    "name": f"peer: {peer}",
                    "repeats": list(pool.map(_peer, [(peer, seed) for seed in range(repeats)])),
                }
                for peer in peers.PEERS
            ]
        lines = summary({"best": own.best, "variants": variants}).round(4)
        print(name, lines.to_string(index=False), sep="\n", flush=True)
        result = {
            "table": name,
            "repeats": repeats,
            "surrogate: rank correlation, left out": rank_errors(outcomes),
            "noise between seeds": own.noise,
            "rankings": rankings(outcomes),
            "ways": lines.astype(object).where(lines.notna(), None).to_dict("records"),
        }
        measure.tell(f"replay-{name}", result, quick=asked.quick)


if __name__ == "__main__":
    main()
