"""Which search finds more for its epochs: this one's choices and its peers, replayed on committed tables.

    python tests/benchmarks/replay.py [--quick] [--table sartaj-cnn] [--tables results/tables] [--configs 64]

A table is a set of runs of `tests/benchmarks/tables.py`: full-length trials with two seeds, and complete
shorter cycles, of the same configurations. Every way is replayed --repeats times (100); the yardstick is as
many random configurations, all at full length. How the rungs rank configurations is told beside it.
`at_default` is the score of what a way would have chosen after as many epochs as the first of the rungs' ways
trains, `over_baseline` how far its winners are above the untuned baseline, on the mean and in all but one in
20, and `over_default` how far they are above those of the default way in the replays of the same seeds, with
the standard error of that mean over replays, in which what the table leaves open of its own truth is not.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import measure
import numpy as np
import peers
from certainty import certainty
from elsewise import by_loss, by_product, by_share, cuts, first_by_loss, norms, of_epochs
from numpy.typing import NDArray
from scipy.stats import spearmanr

from tune_brain.records import BASELINE
from tune_brain.report.replays import summary
from tune_brain.search import ladder, sampler
from tune_brain.search.outcomes import Outcomes, as_searched, read_outcomes
from tune_brain.search.study import Study, Trials
from tune_brain.search.surrogate import Surrogate, rank_errors
from tune_brain.stages.replay import Variant, replay_once

TRIALS, SLOTS = 64, 2
DEFAULT_WAY = "final round: 3x1"
DEFAULT = {"sampler": "tpe", "ladder": (1, 12), "configs": TRIALS, "slots": SLOTS, "final_round": (0, 0)}


def without_baseline(study: Study) -> list[Trials]:
    """What a sampler hears that is not told of the baseline."""
    return [rows for rows in _UNPATCHED["heard"](study) if rows[0].configuration != BASELINE]


PATCHES = {
    "promoted share": (ladder, "PROMOTED_SHARE"),
    "random start": (sampler, "STARTUP"),
    "heard": (Study, "heard"),
}
_UNPATCHED = {name: getattr(module, constant) for name, (module, constant) in PATCHES.items()}


def ways() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Of each its question, its name, how its variant differs, and what it sets in the product."""
    yield "yardstick", "random, full length", {"sampler": "random", "ladder": (12,)}, {}
    for rungs in ((1, 12), (12,), (6, 12), (3, 12), (3, 6, 12), (1, 3, 12), (1, 3, 6, 12)):
        yield "rungs", ",".join(map(str, rungs)), {"ladder": rungs}, {}
    for table in (WHOLE, WHOLE_BY_LOSS, FIRST_BY_LOSS, GOES_ON):
        yield "shortest", table, {"final_round": (3, 1)}, {"instead": table}
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
WHOLE, WHOLE_BY_LOSS = "a complete cycle of one epoch", "a complete cycle of one epoch, ranked by loss"
FIRST_BY_LOSS = "the first epoch of 12, ranked by loss"
GOES_ON = "the first epoch of 12, which goes on where promoted"
"""That epoch is counted twice, as if it were trained anew."""
_own_table: Surrogate
_cut_table: Surrogate
_instead: dict[str, Surrogate]


def _take(outcomes: Outcomes, folders: Sequence[Path]) -> None:
    global _own_table, _cut_table, _instead
    own = Surrogate(as_searched(outcomes))
    _own_table, _cut_table = own, peers.OneCycle(cuts(outcomes))
    _instead = {
        PRODUCT: by_product(own),
        CLIPPED: by_share(own, norms(folders, outcomes)),
        WHOLE: Surrogate(outcomes),
        WHOLE_BY_LOSS: Surrogate(by_loss(outcomes, folders)),
        FIRST_BY_LOSS: Surrogate(first_by_loss(outcomes, folders)),
        GOES_ON: _cut_table,
    }


def _own(job: tuple[dict[str, Any], dict[str, Any], int]) -> dict[str, Any]:
    changed, patches, seed = job
    for name, (module, constant) in PATCHES.items():
        setattr(module, constant, patches.get(name, _UNPATCHED[name]))
    table = _instead[patches["instead"]] if "instead" in patches else _own_table
    return replay_once(table, Variant.model_validate({**DEFAULT, **changed}), seed)


def _peer(job: tuple[str, int, int]) -> dict[str, Any]:
    own = _instead[WHOLE] if job[0] == peers.ONE_EPOCH else _own_table
    return peers.repeat(own, _cut_table, *job[:2], SLOTS, job[2])


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
    first_lost = first_by_loss(outcomes, folders).scores[1]
    columns |= {"cut at 1, by loss": first_lost[:, 0]}
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


def luck(outcomes: Outcomes) -> float:
    """How far a seed's luck in the first epoch is that of its end: both are of the same trainings here."""
    one, other = outcomes.curves[:, 0], outcomes.curves[:, 1]
    known = np.isfinite((one + other)[:, 0])
    apart = (one - other)[known]
    return round(float(spearmanr(apart[:, 0], apart[:, -1]).statistic), 3)


def parser(doc: str | None, configs: int = TRIALS) -> argparse.ArgumentParser:
    """Options of a benchmark that replays searches of so many configurations on the tables."""
    options = measure.parser(doc)
    options.set_defaults(repeats=100)
    options.add_argument("--tables", type=Path, default=measure.ROOT / "results" / "tables")
    options.add_argument("--configs", type=int, default=configs, help="configurations of a search")
    return options


def tables(folder: Path) -> dict[str, list[Path]]:
    """The runs of each table, by its name."""
    runs: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*/run.toml")):
        runs.setdefault(file.parent.name.rpartition("-")[0], []).append(file.parent)
    return runs


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
    options = parser(__doc__)
    options.add_argument("--table", action="append")
    options.add_argument("--only", help="of whose name this is a part, beside the default; is not kept")
    asked = options.parse_args()
    repeats, trials = 10 if asked.quick else asked.repeats, asked.configs
    runs = tables(asked.tables)
    for name in asked.table or runs:
        outcomes = read_outcomes(runs[name], name.rpartition("-")[2])
        own, given = Surrogate(as_searched(outcomes)), (outcomes, runs[name])
        pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_take, initargs=given)
        known = [way for way in ways() if set(way[2].get("ladder", (12,))) <= set(outcomes.scores)]
        others = (*peers.PEERS, peers.ONE_EPOCH, peers.FIRST_EPOCH)
        if asked.only:
            meant = [f"{way[0]}: {way[1]}" for way in known]
            kept = [place for place, name in enumerate(meant) if asked.only in name or name == DEFAULT_WAY]
            known = [known[place] for place in sorted({0, 1, *kept})]
            others = tuple(peer for peer in others if asked.only in f"peer: {peer}")
        with pool:
            variants = [
                {
                    "name": f"{question}: {name}",
                    "repeats": list(
                        pool.map(
                            _own,
                            [({"configs": trials, **changed}, patches, seed) for seed in range(repeats)],
                        )
                    ),
                }
                for question, name, changed, patches in known
            ]
            variants += [
                {
                    "name": f"peer: {peer}",
                    "repeats": list(pool.map(_peer, [(peer, trials, seed) for seed in range(repeats)])),
                }
                for peer in others
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
            "configurations": trials,
            "repeats": repeats,
            "surrogate: rank correlation, left out": rank_errors(own.outcomes),
            "noise between seeds": own.noise,
            **certainty(own),
            "rankings": rankings(outcomes, runs[name]),
            "two seeds' differences after epoch 1 and after all: rank correlation": luck(outcomes),
            "ways": lines.astype(object).where(lines.notna(), None).to_dict("records"),
        }
        if not asked.only:
            of = "" if trials == TRIALS else f"-{trials}"
            measure.tell(f"replay{of}-{name}", result, quick=asked.quick)


if __name__ == "__main__":
    main()
