"""The views of a run: for each what stands over it, which files it reads, and the values of its template."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from tune_brain.report import findings, words
from tune_brain.report.figures import compare as compare_figures
from tune_brain.report.figures import ladder as ladder_figures
from tune_brain.report.figures import pace as pace_figures
from tune_brain.report.figures import parameters as parameter_figures
from tune_brain.report.figures import scores as score_figures
from tune_brain.report.figures import steps as step_figures
from tune_brain.report.listing import epoch_columns, trial_columns
from tune_brain.report.shown import Shown
from tune_brain.report.tables import compare, ladder, pace, scores, spoken, studies
from tune_brain.report.tables.listed import listed

Values = dict[str, Any]

DRAWN = ("f1", "accuracy")
"""Metrics that are drawn beside being listed."""


@dataclass(frozen=True)
class View:
    """One section of the page; its template is sections/<name>.html."""

    name: str
    label: str
    """What the navigation calls it."""
    needs: frozenset[str]
    """What it is made from: `trials`, `epochs` (rows), `files` (all others), `running`."""
    title: Callable[[Shown], str]
    values: Callable[[Shown, Sequence[Shown]], Values]


def _cards(shown: Shown) -> list[Values]:
    """Each architecture at a glance: its macro-F1 on what counts most of what there is, and its winner."""
    cards = []
    for study in listed(shown.studies):
        arch = study["arch"]
        trials = shown.of(arch)
        own = shown.scores[(shown.scores["role"] == "winner") & (shown.scores["metric"] == "f1")]
        tested = own[(own["classifier"] == arch) & own["mean"].notna()]
        winner = next(iter(listed(trials[trials["winner"]])), None)
        cards.append({**study, "winner": winner, "score": listed(tested)[-1] if len(tested) else None})
    return cards


def _overview(shown: Shown, _: Sequence[Shown]) -> Values:
    floor = shown.scores[
        (shown.scores["classifier"] == "nearest_neighbour") & (shown.scores["metric"] == "f1")
    ]
    return {
        "next_step": findings.next_step(shown),
        "cards": shown.kept("cards", partial(_cards, shown)),
        "spent": shown.spent,
        "floor": {line["part"]: line for line in listed(floor) if line["mean"] == line["mean"]},
        "verdicts": shown.contents.comparisons.get("verdicts", {}),
        "facts": shown.kept("facts", lambda: list(words.facts(shown.contents))),
        "notes": list(words.notes(shown.contents, shown.images)),
        "images": shown.images,
        "ladder": shown.config.ladder,
    }


def _progress(shown: Shown, _: Sequence[Shown]) -> Values:
    drawn = {"": shown.ends} | {str(arch): own for arch, own in shown.ends.groupby("arch", sort=False)}
    if len(drawn) == 2:
        drawn.pop("")
    return {
        "figures": {
            arch: [
                (x, shown.figure(f"progress {x}", arch, partial(pace_figures.best_over, own, x)))
                if arch
                else (x, pace_figures.best_over(own, x))
                for x in ("hours", "spent")
            ]
            for arch, own in drawn.items()
            if len(own)
        }
    }


def _ladder(shown: Shown, _: Sequence[Shown]) -> Values:
    rungs = shown.config.ladder
    found = {}
    for arch in shown.config.arch:
        trials, curves = shown.of(arch), shown.curves[shown.curves["arch"] == arch]
        found[arch] = {
            "climb": shown.figure("climb", arch, partial(ladder_figures.climb, trials, rungs))
            if trials["score"].notna().any()
            else None,
            "curves": shown.figure(
                "curves", arch, partial(ladder_figures.learning_curves, curves, rungs), epochs=True
            )
            if len(curves)
            else None,
            "rungs": shown.kept(f"rungs {arch}", partial(_rungs, trials, rungs)),
        }
    return {
        "studies": found,
        "agreements": shown.kept("agreements", lambda: list(findings.agreements(shown))),
    }


def _rungs(trials: pd.DataFrame, rungs: Sequence[int]) -> list[Values]:
    return listed(ladder.cutoffs(trials, rungs))


def _parameters(shown: Shown, _: Sequence[Shown]) -> Values:
    scored = shown.trials[shown.trials["score"].notna()]
    return {
        "studies": {
            arch: shown.figure("parameters", arch, partial(_study, shown, arch))
            if (scored["arch"] == arch).any()
            else None
            for arch in shown.config.arch
        }
    }


def _study(shown: Shown, arch: str) -> Values:
    space, trials = shown.contents.spaces[arch], shown.of(arch)
    ended = trials[trials["state"] != "running"]
    pairs = combinations(space.tuned, 2)
    return {
        "slices": {name: parameter_figures.slices(ended, name, own) for name, own in space.tuned.items()},
        "parallel": parameter_figures.parallel(ended, space),
        "pairs": {pair: parameter_figures.pair(ended, space, *pair) for pair in pairs},
        "full": int((ended["full"] & ended["score"].notna()).sum()),
        "warnings": findings.warnings(shown, arch),
        **_importances(shown, arch),
    }


def _importances(shown: Shown, arch: str) -> Values:
    from tune_brain.search.importance import FEWEST, importances  # optuna is not needed before

    rows = [row for row in shown.contents.trials if row.arch == arch]
    space = shown.contents.spaces[arch]
    found = {rung: importances(rows, space, rung) for rung in shown.config.ladder}
    told = {rung: n for rung, (shares, n) in found.items() if shares}
    return {
        "importances": parameter_figures.importances(found, list(space.tuned)) if told else None,
        "importances_n": told,
        "importances_fewest": FEWEST,
    }


def _steps(shown: Shown, _: Sequence[Shown]) -> Values:
    leads = shown.trials["winner"] & (shown.trials["arch"] == shown.leader)
    first = shown.trials[leads if leads.any() else shown.trials["trial"].isin(shown.curves["trial"])]
    return {
        "figure": step_figures.one_cycle() if len(shown.curves) else None,
        "first": int(first["trial"].iloc[0]) if len(first) else None,
        "epochs": epoch_columns(shown.curves),
    }


def _machines(shown: Shown, _: Sequence[Shown]) -> Values:
    timeline = shown.timeline
    return {
        "figure": pace_figures.machines(timeline) if len(timeline) else None,
        "slots": listed(pace.busy(timeline)),
        "troubles": listed(timeline[timeline["state"].isin(["failed", "interrupted"])]),
        "archs": [arch for arch in shown.config.arch if (timeline["arch"] == arch).any()],
    }


def _winners(shown: Shown, _: Sequence[Shown]) -> Values:
    comparisons = shown.contents.comparisons
    table = shown.scores
    keys = table[["classifier", "role"]].drop_duplicates().itertuples(index=False, name=None)
    names = {key: words.classifier(*key) for key in keys}
    retrained = scores.retrained(comparisons)
    return {
        "groups": list(_score_groups(table)),
        "dots": {metric: score_figures.score_dots(table, metric, names) for metric in DRAWN if names},
        "retrained": listed(retrained),
        "worth": listed(shown.worth),
        "verdicts": comparisons.get("verdicts", {}),
        "confusions": {arch: _confusions(parts) for arch, parts in shown.contents.scores.items()},
        "pairs": listed(scores.pairs(comparisons)),
        "spoken": _spoken(shown),
    }


def _spoken(shown: Shown) -> Values | None:
    """ROC and reliability by part of the test, and the images most wrongly classified."""
    said, classes = shown.spoken, list(shown.images.index)
    if said is None:
        return None
    found: dict[str, Any] = {}
    for part in scores.PARTS:
        inside = said.part(part)
        if not inside.any():
            continue
        labels = said.labels[inside]
        by_arch = {arch: told[:, inside] for arch, told in said.winners.items()}
        rocs = {
            name: {arch: spoken.roc(told, labels, label) for arch, told in by_arch.items()}
            for label, name in enumerate(classes)
        }
        found[part] = {
            "roc": {n: score_figures.roc(of) for n, of in rocs.items() if any(map(len, of.values()))},
            "reliability": score_figures.reliability(
                {arch: spoken.reliability(told, labels) for arch, told in by_arch.items()}
            ),
        }
    return {"parts": found, "wrong": listed(spoken.wrong(said, classes))}


def _score_groups(table: pd.DataFrame) -> Iterator[Values]:
    """The score table by classifier: a line for each part, in it one cell a metric, None where absent."""
    for key, group in table.groupby(["classifier", "role"], sort=False):
        lines = []
        for part, cells in group.groupby("part", sort=False):
            about = cells.iloc[0]
            by_metric = {cell["metric"]: cell for cell in listed(cells)}
            lines.append(
                {
                    **{key: about[key] for key in ("n", "groups", "seeds")},
                    "part": part,
                    "cells": [by_metric.get(metric) for metric in scores.METRICS],
                }
            )
        name, role = map(str, key)
        yield {"name": words.classifier(name, role), "role": role, "lines": lines}


def _confusions(parts: dict[str, Any]) -> dict[str, Values]:
    """Of one winner, by part: how many images, the figure and the table of classes."""
    return {
        part: {
            "n": parts[part]["n"],
            "figure": score_figures.confusion(parts[part]["confusion"], list(parts[part]["per_class"])),
            "classes": listed(scores.per_class(parts[part])),
        }
        for part in scores.PARTS
    }


def _compare(shown: Shown, others: Sequence[Shown]) -> Values:
    runs = [shown, *others]
    names = _names(runs)
    table = compare.results(names, [run.studies for run in runs], [run.scores for run in runs])
    drawn: dict[str, go.Figure] = {
        column: compare_figures.results(table, column)
        for column in ("best", *scores.PARTS)
        if table[column].notna().any()
    }
    configs = {name: run.config for name, run in zip(names, runs, strict=True)}
    records = {name: run.contents.record for name, run in zip(names, runs, strict=True)}
    return {
        "names": names,
        "title": findings.compare(table),
        "results": listed(table),
        "figures": drawn,
        "settings": compare.settings(configs, records),
        "other_data": len({record.get("data", {}).get("digest") for record in records.values()}) > 1,
    }


def _names(runs: Sequence[Shown]) -> list[str]:
    """A name for each run, longer where two folders are called the same."""
    plain = [run.name for run in runs]
    if len(set(plain)) == len(plain):
        return plain
    return [f"{run.contents.folder.resolve().parent.name}/{run.name}" for run in runs]


def _configurations(shown: Shown, _: Sequence[Shown]) -> Values:
    return {
        "winners": shown.contents.winners,
        "trials": trial_columns(shown.trials, shown.contents.spaces),
        "tuned": studies.parameters(shown.trials),
    }


_ROWS = frozenset({"trials", "epochs"})
VIEWS = (
    View("overview", "Overview", _ROWS | {"files", "running"}, findings.overview, _overview),
    View("progress", "Progress", frozenset({"trials"}), findings.progress, _progress),
    View("ladder", "Ladder", _ROWS, findings.ladder, _ladder),
    View("parameters", "Parameters", frozenset({"trials", "files"}), findings.parameters, _parameters),
    View("steps", "One-cycle", _ROWS, findings.steps, _steps),
    View("machines", "Machines", _ROWS, findings.machines, _machines),
    View("winners", "Winners", frozenset({"files"}), findings.winners, _winners),
    View("compare", "Compare", frozenset({"trials", "files"}), lambda _: "", _compare),
    View(
        "configurations",
        "Configurations",
        frozenset({"trials", "files"}),
        findings.configurations,
        _configurations,
    ),
)
