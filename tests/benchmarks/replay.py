"""Which search finds more for its epochs: this one's choices and its peers, replayed on committed tables.

    python tests/benchmarks/replay.py [--quick] [--table sartaj-cnn] [--tables results/tables]

A table is a set of runs of `tests/benchmarks/tables.py`: full-length trials with two seeds, and complete
shorter cycles, of the same configurations. Every way is replayed --repeats times (100); the yardstick is 64
random configurations, all at full length. How the rungs rank configurations is told beside it. `at_default`
is the score of what a way would have chosen after as many epochs as the first of the rungs' ways trains,
`over_baseline` how far its winners are above the untuned baseline, on the mean and in all but one in 20, and
`over_default` how far they are above those of the default way in the replays of the same seeds, with the
standard error of that mean over replays, in which what the table leaves open of its own truth is not.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import measure
import numpy as np
import peers
from certainty import certainty
from numpy.typing import NDArray
from scipy.stats import spearmanr

from tune_brain.records import BASELINE, EpochRow, TrialRow, latest, read
from tune_brain.report.replays import summary
from tune_brain.search import ladder, sampler
from tune_brain.search.outcomes import Outcomes, place, read_outcomes
from tune_brain.search.study import Climb, Study
from tune_brain.search.surrogate import Surrogate, rank_errors
from tune_brain.space import Space
from tune_brain.stages.replay import Variant, replay_once

TRIALS, SLOTS = 64, 2
DEFAULT_WAY = "final round: 3x1"
DEFAULT = {"sampler": "tpe", "ladder": (1, 12), "configs": TRIALS, "slots": SLOTS, "final_round": (0, 0)}


def without_baseline(study: Study) -> list[Climb]:
    """What a sampler hears that is not told of the baseline."""
    return [rows for rows in _UNPATCHED["heard"](study) if rows[0].configuration != BASELINE]


PATCHES = {
    "promoted share": (ladder, "PROMOTED_SHARE"),
    "random start": (sampler, "STARTUP"),
    "heard": (Study, "heard"),
}
_UNPATCHED = {name: getattr(module, constant) for name, (module, constant) in PATCHES.items()}


class Elsewise(Surrogate):
    """The same outcomes for a search that tunes something else under the name of a hyperparameter.

    Args:
        own: of the table.
        name: the hyperparameter's.
        factor: by which the hyperparameter is multiplied to get what is tuned, from the others' values.
        middle: a usual factor, for the range.
    """

    def __init__(
        self, own: Surrogate, name: str, factor: Callable[[Mapping[str, float]], float], middle: float
    ) -> None:
        vars(self).update(vars(own))
        self._own, self._name, self._factor = own, name, factor
        space = own.outcomes.space
        self._range = space.tuned[name]
        limits = {"low": self._range.low * middle, "high": self._range.high * middle, "log": True}
        known = space.model_dump()
        known["tuned"][name] = limits
        tuned = factor(space.baseline) * space.baseline[name]
        known["baseline"][name] = min(max(tuned, limits["low"]), limits["high"])
        self.outcomes = dataclasses.replace(own.outcomes, space=Space.model_validate(known))

    def _spot(self, values: Mapping[str, float]) -> Any:
        meant = values[self._name] / self._factor(values)
        kept = min(max(meant, self._range.low), self._range.high)
        return self._own._spot({**values, self._name: kept})


def by_product(own: Surrogate) -> Surrogate:
    """For a search that tunes max_lr x weight_decay in place of weight_decay."""
    rate = own.outcomes.space.tuned["max_lr"]
    return Elsewise(own, "weight_decay", lambda values: values["max_lr"], math.sqrt(rate.low * rate.high))


def by_share(own: Surrogate, norms: Sequence[float]) -> Surrogate:
    """For a search that tunes grad_clip as a share of the gradient's usual norm.

    Args:
        own: of the table.
        norms: of the table's configurations; of others, that of the one with the nearest max_lr and
            weight_decay.
    """
    places, space = own.outcomes.places, own.outcomes.space
    kept = [number for number, name in enumerate(space.tuned) if name != "grad_clip"]

    def factor(values: Mapping[str, float]) -> float:
        at = place(space, {"grad_clip": space.baseline["grad_clip"], **values})
        return 1 / norms[int(np.argmin(np.linalg.norm((places - at)[:, kept], axis=1)))]

    return Elsewise(own, "grad_clip", factor, 1 / float(np.median(norms)))


def ways() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Of each its question, its name, how its variant differs, and what it sets in the product."""
    yield "yardstick", "random, full length", {"sampler": "random", "ladder": (12,)}, {}
    for rungs in ((1, 12), (12,), (6, 12), (3, 12), (3, 6, 12), (1, 3, 12), (1, 3, 6, 12)):
        yield "rungs", ",".join(map(str, rungs)), {"ladder": rungs}, {}
    for table in (BY_LOSS, FIRST_EPOCH, GOES_ON, FIRST_BY_LOSS):
        yield "rungs", f"1,12, {table}", {}, {"instead": table}
    for share in (2, 4, 6):
        yield "promoted share", f"one in {share}", {}, {"promoted share": share}
    for name in ("random", "halton", "halton-tpe", "gp"):
        yield "sampler", name, {"sampler": name}, {}
    for start in (5, 20):
        yield "random start", f"{start} configurations", {}, {"random start": start}
    yield "baseline", "trained, but not told to the sampler", {}, {"heard": without_baseline}
    for table in (PRODUCT, CLIPPED):
        yield "parameters", table, {}, {"instead": table}
    for rungs in ((1, 12), (3, 12), (3, 6, 12)):
        name = f"{','.join(map(str, rungs))} until converged"
        for final, told in (((0, 0), ""), ((3, 1), ", final round 3x1")):
            changed = {"ladder": rungs, "until_converged": True, "final_round": final}
            yield "end", name + told, changed, {}
    for slots in (1, 8, 32):
        yield "slots", str(slots), {"slots": slots}, {}
    for final in ((2, 1), (3, 1), (3, 2), (5, 2), (5, 4)):
        yield "final round", f"{final[0]}x{final[1]}", {"final_round": final}, {}


PRODUCT, CLIPPED = "learning rate x decay for decay", "clip as a share of the gradient's norm"
BY_LOSS = "promoted by loss"
FIRST_BY_LOSS = "promoted by the loss after the first epoch of 12, trained anew"
FIRST_EPOCH = "of which 1 is the first epoch of 12, trained anew where promoted"
GOES_ON = "of which 1 is the first epoch of 12, which goes on where promoted"
"""Each epoch that goes on is counted twice, as if it were trained anew."""
_own_table: Surrogate
_cut_table: Surrogate
_instead: dict[str, Surrogate]


def _take(own: Surrogate, lost: Outcomes, first: Outcomes, norms: Sequence[float]) -> None:
    global _own_table, _cut_table, _instead
    _own_table, _cut_table = own, peers.OneCycle(cuts(own.outcomes))
    _instead = {
        PRODUCT: by_product(own),
        CLIPPED: by_share(own, norms),
        BY_LOSS: Surrogate(lost),
        FIRST_EPOCH: Surrogate(cuts(own.outcomes)),
        GOES_ON: _cut_table,
        FIRST_BY_LOSS: Surrogate(first),
    }


def _own(job: tuple[dict[str, Any], dict[str, Any], int]) -> dict[str, Any]:
    changed, patches, seed = job
    for name, (module, constant) in PATCHES.items():
        setattr(module, constant, patches.get(name, _UNPATCHED[name]))
    table = _instead[patches["instead"]] if "instead" in patches else _own_table
    return replay_once(table, Variant.model_validate({**DEFAULT, **changed}), seed)


def _peer(job: tuple[str, int]) -> dict[str, Any]:
    return peers.repeat(_own_table, _cut_table, job[0], TRIALS, SLOTS, job[1])


def cuts(outcomes: Outcomes) -> Outcomes:
    """The scores after each epoch of the full cycle, as if each were a length."""
    epochs = outcomes.curves.shape[2]
    scores = {epoch: outcomes.curves[:, :, epoch - 1] for epoch in range(1, epochs)}
    return dataclasses.replace(outcomes, scores={**scores, epochs: outcomes.scores[epochs]})


def of_epochs(
    folders: Sequence[Path], space: Space, told: Callable[[list[EpochRow]], float]
) -> dict[int, dict[tuple[float, ...], list[float]]]:
    """What the epochs of each configuration's trials tell, its first one's first, by length and place."""
    found: dict[int, dict[tuple[float, ...], list[float]]] = {}
    for folder in folders:
        epochs: dict[int, list[EpochRow]] = {}
        for epoch in read(folder / "epochs.jsonl", EpochRow):
            epochs.setdefault(epoch.trial, []).append(epoch)
        for row in latest(read(folder / "trials.jsonl", TrialRow)):
            if row.score is not None:
                of = found.setdefault(row.epochs, {}).setdefault(tuple(place(space, row.values)), [])
                of.append(told(epochs[row.trial]))
    return found


def by_loss(outcomes: Outcomes, folders: Sequence[Path]) -> Outcomes:
    """Those of a search that promotes by validation loss: 1 / (1 + loss) is the score of shorter trials."""
    lost = of_epochs(folders, outcomes.space, lambda rows: 1 / (1 + rows[-1].val_loss))
    full = outcomes.full_length
    shorter = {length: filled(outcomes, length, lost[length]) for length in outcomes.scores if length != full}
    return dataclasses.replace(outcomes, scores={**shorter, full: outcomes.scores[full]})


def first_by_loss(outcomes: Outcomes, folders: Sequence[Path]) -> Outcomes:
    """Those of a search that promotes by validation loss after the first epoch of the full cycle."""
    lost = of_epochs(folders, outcomes.space, lambda rows: 1 / (1 + rows[0].val_loss))
    full = outcomes.full_length
    scores = {1: filled(outcomes, full, lost[full]), full: outcomes.scores[full]}
    return dataclasses.replace(outcomes, scores=scores)


def filled(
    outcomes: Outcomes, length: int, told: Mapping[tuple[float, ...], Sequence[float]]
) -> NDArray[np.float64]:
    """A table [n, seeds] of what was told of each configuration; 0 for trials that diverged."""
    table = np.where(np.isfinite(outcomes.scores[length]), 0.0, np.nan)
    for line, at in zip(table, outcomes.places, strict=True):
        known = told.get(tuple(at), [])[: len(line)]
        line[: len(known)] = known
    return table


def norms(folders: Sequence[Path], outcomes: Outcomes) -> list[float]:
    """The median norm of the gradient before it was clipped, of each configuration at full length."""
    known = of_epochs(folders, outcomes.space, lambda rows: median(row.grad_norm for row in rows))
    of = {at: told[0] for at, told in known[outcomes.full_length].items()}
    usual = median(of.values())
    return [of.get(tuple(at), usual) for at in outcomes.places]


def rankings(outcomes: Outcomes, folders: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Spearman's correlation with another seed's full-length score: of shorter cycles, cuts, a first seed.

    Over all configurations, and over the better half of them by a third and a fourth seed where there are:
    chosen by the first two, these would rank backwards within it.
    """
    full = outcomes.scores[outcomes.full_length]
    first, second = full[:, :2].T
    columns = {f"complete {length}": scores[:, 0] for length, scores in outcomes.scores.items()}
    for length, of in of_epochs(folders, outcomes.space, lambda rows: rows[-1].val_loss).items():
        lost = [of.get(tuple(at), [math.nan])[0] for at in outcomes.places]
        columns[f"complete {length}, by loss"] = -np.array(lost)
    columns |= {f"cut at {epoch}": outcomes.curves[:, 0, epoch - 1] for epoch in (1, 3, 6, 9)}
    both = np.isfinite(first + second)
    parts = {"all": both}
    if full.shape[1] >= 4:
        others = full[:, 2:4].mean(axis=1)
        parts["better half"] = both & (others >= np.nanmedian(others))
    found: dict[str, dict[str, float]] = {}
    for part, inside in parts.items():
        found[part] = {"n": int(inside.sum())}
        for name, column in columns.items():
            known = np.isfinite(column) & inside
            found[part][name] = round(float(spearmanr(column[known], second[known]).statistic), 3)
    return found


def held(variant: Mapping[str, Any], epochs: float) -> float:
    """The mean true score of what a way's replays would have chosen after so many epochs."""
    scores = []
    for repeat in variant["repeats"]:
        chosen = [score for at, score in zip(repeat["epochs"], repeat["true"], strict=True) if at <= epochs]
        scores.append(chosen[-1] if chosen else 0.0)
    return float(np.mean(scores))


def over_baseline(variant: Mapping[str, Any]) -> NDArray[np.float64]:
    """How far the winner of each of a way's replays is in truth above the untuned baseline."""
    return np.array([repeat["realised"] - repeat["baseline"] for repeat in variant["repeats"]])


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
        own = Surrogate(outcomes)
        lost = (by_loss(outcomes, runs[name]), first_by_loss(outcomes, runs[name]))
        given = (own, *lost, norms(runs[name], outcomes))
        pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_take, initargs=given)
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
                for peer in (*peers.PEERS, peers.ONE_EPOCH)
            ]
        lines = summary({"best": own.best, "noise": own.noise, "variants": variants})
        lines["at_default"] = [held(variant, lines["epochs"][1]) for variant in variants]
        gains = [over_baseline(variant) for variant in variants]
        lines["over_baseline"] = [gain.mean() for gain in gains]
        lines["over_baseline_low"] = [np.quantile(gain, 0.05) for gain in gains]
        realised = {one["name"]: np.array([each["realised"] for each in one["repeats"]]) for one in variants}
        ahead = [found - realised[DEFAULT_WAY] for found in realised.values()]
        lines["over_default"] = [gain.mean() for gain in ahead]
        lines["over_default_se"] = [gain.std(ddof=1) / math.sqrt(repeats) for gain in ahead]
        lines = lines.round(4)
        print(name, lines.to_string(index=False), sep="\n", flush=True)
        result = {
            "table": name,
            "repeats": repeats,
            "surrogate: rank correlation, left out": rank_errors(outcomes),
            "noise between seeds": own.noise,
            **certainty(own),
            "rankings": rankings(outcomes, runs[name]),
            "ways": lines.astype(object).where(lines.notna(), None).to_dict("records"),
        }
        measure.tell(f"replay-{name}", result, quick=asked.quick)


if __name__ == "__main__":
    main()
