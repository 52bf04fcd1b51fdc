"""Search strategies compared by replay on the committed tables: this project's defaults, variants and peers.

    python tests/benchmarks/replay.py [--quick] [--table sartaj-cnn] [--tables results/tables] [--configs 64]

A table is a set of runs made by `tests/benchmarks/tables.py`: full-length trials with two seeds, and complete
shorter cycles, of the same configurations. Every strategy is replayed --repeats times (100). The reference is
random search over as many configurations, all at full length. The result also says how well each rung ranks
the configurations.

For each strategy, `at_default` is the score of what it would have chosen after as many epochs as the first
strategy of `rungs` trains. `over_baseline` is how far its winners are above the untuned baseline, on average,
and `over_baseline_low` the same in all but one replay in 20. `over_default` is how far they are above the
winners of the default strategy in the replays with the same seeds; its standard error is over replays and
does not include the uncertainty of the table itself.
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
from altered_tables import by_loss, by_product, by_share, cuts, first_by_loss, norms, of_epochs
from certainty import certainty
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
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
    """The configurations shown to the sampler, without the baseline; replaces `Study.for_sampler`."""
    return [rows for rows in _UNPATCHED["for_sampler"](study) if rows[0].configuration != BASELINE]


def running_while_they_train(self: sampler.StudySampler, rows: Trials) -> FrozenTrial | None:
    """Optuna's trial of a configuration, RUNNING also while a promoted one trains, as before version 0.5.

    Replaces `StudySampler._frozen`.
    """
    if any(row.state == "running" for row in rows):
        return sampler._frozen_trial(rows, self._distributions, self._length)
    return _UNPATCHED["trial"](self, rows)


PATCHES = {
    "promoted share": (ladder, "PROMOTED_SHARE"),
    "random start": (sampler, "STARTUP"),
    "for_sampler": (Study, "for_sampler"),
    "trial": (sampler.StudySampler, "_frozen"),
}
"""What a strategy can replace in the package: the owner of an attribute, and its name."""
_UNPATCHED = {name: getattr(owner, attribute) for name, (owner, attribute) in PATCHES.items()}


def ways() -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """The strategies: question, name, changes of the variant, and patches of the package.

    Of the patches, `instead` names another table and the others are keys of `PATCHES`.
    """
    yield "yardstick", "random, full length", {"sampler": "random", "ladder": (12,)}, {}
    for rungs in ((1, 12), (12,), (6, 12), (3, 12), (3, 6, 12), (1, 3, 12), (1, 3, 6, 12)):
        yield "rungs", ",".join(map(str, rungs)), {"ladder": rungs}, {}
    for table in (WHOLE, WHOLE_BY_LOSS, FIRST_BY_LOSS, GOES_ON):
        yield "shortest", table, {"final_round": (3, 1)}, {"instead": table}
    for share in (2, 4, 6):
        yield "promoted share", f"one in {share}", {}, {"promoted share": share}
    for name in ("random", "halton", "halton-tpe", "gp"):
        yield "sampler", name, {"sampler": name}, {}
    name = "promoted ones RUNNING while they train"
    yield "sampler", name, {"final_round": (3, 1)}, {"trial": running_while_they_train}
    for start in (5, 20):
        yield "random start", f"{start} configurations", {}, {"random start": start}
    yield "baseline", "trained, but not told to the sampler", {}, {"for_sampler": without_baseline}
    for table in (PRODUCT, CLIPPED):
        yield "parameters", table, {}, {"instead": table}
    for rungs in ((1, 12), (3, 12), (3, 6, 12)):
        name = f"{','.join(map(str, rungs))} until converged"
        for final, suffix in (((0, 0), ""), ((3, 1), ", final round 3x1")):
            changes = {"ladder": rungs, "until_converged": True, "final_round": final}
            yield "end", name + suffix, changes, {}
    for slots in (1, 8, 32):
        yield "slots", str(slots), {"slots": slots}, {}
    for final in ((2, 1), (3, 1), (3, 2), (5, 2), (5, 4)):
        yield "final round", f"{final[0]}x{final[1]}", {"final_round": final}, {}


PRODUCT, CLIPPED = "learning rate x decay for decay", "clip as a share of the gradient's norm"
WHOLE, WHOLE_BY_LOSS = "a complete cycle of one epoch", "a complete cycle of one epoch, ranked by loss"
FIRST_BY_LOSS = "the first epoch of 12, ranked by loss"
GOES_ON = "the first epoch of 12, which goes on where promoted"
"""A promoted trial continues with its seed, but its first epoch is counted twice, as if it were retrained."""

_table: Surrogate
_cut_table: Surrogate
_alternatives: dict[str, Surrogate]


def _init_worker(outcomes: Outcomes, folders: Sequence[Path]) -> None:
    global _table, _cut_table, _alternatives
    _table, _cut_table = Surrogate(as_searched(outcomes)), peers.OneCycle(cuts(outcomes))
    _alternatives = {
        PRODUCT: by_product(_table),
        CLIPPED: by_share(_table, norms(folders, outcomes)),
        WHOLE: Surrogate(outcomes),
        WHOLE_BY_LOSS: Surrogate(by_loss(outcomes, folders)),
        FIRST_BY_LOSS: Surrogate(first_by_loss(outcomes, folders)),
        GOES_ON: _cut_table,
    }


def _replay_way(job: tuple[dict[str, Any], dict[str, Any], int]) -> dict[str, Any]:
    changes, patches, seed = job
    for name, (owner, attribute) in PATCHES.items():
        setattr(owner, attribute, patches.get(name, _UNPATCHED[name]))
    table = _alternatives[patches["instead"]] if "instead" in patches else _table
    return replay_once(table, Variant.model_validate({**DEFAULT, **changes}), seed)


def _replay_peer(job: tuple[str, int, int]) -> dict[str, Any]:
    name, trials, seed = job
    table = _alternatives[WHOLE] if name == peers.ONE_EPOCH else _table
    return peers.repeat(table, _cut_table, name, trials, SLOTS, seed)


def rankings(outcomes: Outcomes, folders: Sequence[Path]) -> dict[str, dict[str, float]]:
    """Spearman's correlation of shorter cycles, cuts and a first seed with another seed's full-length score.

    Computed over all configurations and, with four seeds, over the better half. That half is selected by the
    third and fourth seed: selection by the first two would bias their correlation within it downwards.
    """
    full = outcomes.scores[outcomes.full_length]
    first, second = full[:, :2].T
    columns = {f"complete {length}": scores[:, 0] for length, scores in outcomes.scores.items()}
    for length, losses in of_epochs(folders, outcomes.space, lambda rows: rows[-1].val_loss).items():
        first_losses = [losses.get(tuple(at), [math.nan])[0] for at in outcomes.places]
        columns[f"complete {length}, by loss"] = -np.array(first_losses)
    columns |= {"cut at 1, by loss": first_by_loss(outcomes, folders).scores[1][:, 0]}
    columns |= {f"cut at {epoch}": outcomes.curves[:, 0, epoch - 1] for epoch in (1, 3, 6, 9)}
    both = np.isfinite(first + second)
    parts = {"all": both}
    if full.shape[1] >= 4:
        others = full[:, 2:4].mean(axis=1)
        parts["better half"] = both & (others >= np.nanmedian(others))
    correlations: dict[str, dict[str, float]] = {}
    for part, inside in parts.items():
        correlations[part] = {"n": int(inside.sum())}
        for name, column in columns.items():
            known = np.isfinite(column) & inside
            correlations[part][name] = round(float(spearmanr(column[known], second[known]).statistic), 3)
    return correlations


def luck(outcomes: Outcomes) -> float:
    """Rank correlation of two seeds' difference after epoch 1 with their difference at the end.

    Both come from the same trials, so it says how far a seed's luck in the first epoch lasts.
    """
    first, second = outcomes.curves[:, 0], outcomes.curves[:, 1]
    known = np.isfinite((first + second)[:, 0])
    differences = (first - second)[known]
    return round(float(spearmanr(differences[:, 0], differences[:, -1]).statistic), 3)


def parser(doc: str | None, configs: int = TRIALS) -> argparse.ArgumentParser:
    """The options of a benchmark that replays searches on the tables.

    Args:
        doc: its description.
        configs: default number of configurations of a search.
    """
    options = measure.parser(doc)
    options.set_defaults(repeats=100)
    options.add_argument("--tables", type=Path, default=measure.ROOT / "results" / "tables")
    options.add_argument("--configs", type=int, default=configs, help="configurations of a search")
    return options


def tables(folder: Path) -> dict[str, list[Path]]:
    """The runs of each table, by the table's name."""
    runs: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*/run.toml")):
        runs.setdefault(file.parent.name.rpartition("-")[0], []).append(file.parent)
    return runs


def score_after(variant: Mapping[str, Any], epochs: float) -> float:
    """The mean true score of what a strategy's replays would have chosen after this many epochs.

    A replay that had not chosen anything by then counts as 0.
    """
    scores = []
    for repeat in variant["repeats"]:
        chosen = [score for at, score in zip(repeat["epochs"], repeat["true"], strict=True) if at <= epochs]
        scores.append(chosen[-1] if chosen else 0.0)
    return float(np.mean(scores))


def over_baseline(variant: Mapping[str, Any]) -> NDArray[np.float64]:
    """By replay, the true score of the winner less that of the untuned baseline."""
    return np.array([repeat["realised"] - repeat["baseline"] for repeat in variant["repeats"]])


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--table", action="append")
    options.add_argument(
        "--only", help="only strategies whose name contains this, and the default; no file is written"
    )
    args = options.parse_args()
    repeats, trials = 10 if args.quick else args.repeats, args.configs
    runs = tables(args.tables)
    for name in args.table or runs:
        outcomes = read_outcomes(runs[name], name.rpartition("-")[2])
        surrogate, given = Surrogate(as_searched(outcomes)), (outcomes, runs[name])
        pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=_init_worker, initargs=given)
        strategies = [way for way in ways() if set(way[2].get("ladder", (12,))) <= set(outcomes.scores)]
        others = (*peers.PEERS, peers.ONE_EPOCH, peers.FIRST_EPOCH)
        if args.only:
            labels = [f"{way[0]}: {way[1]}" for way in strategies]
            chosen = [at for at, label in enumerate(labels) if args.only in label or label == DEFAULT_WAY]
            # The reference and the first of `rungs` are needed for comparison.
            strategies = [strategies[at] for at in sorted({0, 1, *chosen})]
            others = tuple(peer for peer in others if args.only in f"peer: {peer}")
        with pool:
            variants = [
                {
                    "name": f"{question}: {name}",
                    "repeats": list(
                        pool.map(
                            _replay_way,
                            [({"configs": trials, **changes}, patches, seed) for seed in range(repeats)],
                        )
                    ),
                }
                for question, name, changes, patches in strategies
            ]
            variants += [
                {
                    "name": f"peer: {peer}",
                    "repeats": list(
                        pool.map(_replay_peer, [(peer, trials, seed) for seed in range(repeats)])
                    ),
                }
                for peer in others
            ]
        lines = summary({"best": surrogate.best, "noise": surrogate.noise, "variants": variants})
        lines["at_default"] = [score_after(variant, lines["epochs"][1]) for variant in variants]
        gains = [over_baseline(variant) for variant in variants]
        lines["over_baseline"] = [gain.mean() for gain in gains]
        lines["over_baseline_low"] = [np.quantile(gain, 0.05) for gain in gains]
        realised = {
            variant["name"]: np.array([repeat["realised"] for repeat in variant["repeats"]])
            for variant in variants
        }
        ahead = [scores - realised[DEFAULT_WAY] for scores in realised.values()]
        lines["over_default"] = [gain.mean() for gain in ahead]
        lines["over_default_se"] = [gain.std(ddof=1) / math.sqrt(repeats) for gain in ahead]
        lines = lines.round(4)
        print(name, lines.to_string(index=False), sep="\n", flush=True)
        result = {
            "table": name,
            "configurations": trials,
            "repeats": repeats,
            "surrogate: rank correlation, left out": rank_errors(surrogate.outcomes),
            "noise between seeds": surrogate.noise,
            **certainty(surrogate),
            "rankings": rankings(outcomes, runs[name]),
            "two seeds' differences after epoch 1 and after all: rank correlation": luck(outcomes),
            "ways": lines.astype(object).where(lines.notna(), None).to_dict("records"),
        }
        if not args.only:
            suffix = "" if trials == TRIALS else f"-{trials}"
            measure.report(f"replay{suffix}-{name}", result, quick=args.quick)


if __name__ == "__main__":
    main()
