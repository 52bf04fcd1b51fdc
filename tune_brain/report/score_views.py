"""Template values of the views that show scores: winners and comparison."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from tune_brain.records import TEST_PARTS
from tune_brain.report import findings, formatting
from tune_brain.report.figures import compare as compare_figures
from tune_brain.report.figures import scores as score_figures
from tune_brain.report.run_view import RunView
from tune_brain.report.tables import compare as comparison
from tune_brain.report.tables import predictions, scores

Values = dict[str, Any]

DRAWN = ("f1", "accuracy")
"""Metrics that get a figure in addition to their column in the table."""


def winners(shown: RunView, _: Sequence[RunView]) -> Values:
    """Values of the winners view: scores, gains of tuning, confusion matrices, curves, pairwise tests."""
    comparisons = shown.contents.comparisons
    table = shown.scores
    keys = table[["classifier", "role"]].drop_duplicates().itertuples(index=False, name=None)
    names = {key: formatting.classifier(*key) for key in keys}
    return {
        "leak": formatting.leak(shown.contents),
        "groups": list(_score_groups(table)),
        "dots": {metric: score_figures.score_dots(table, metric, names) for metric in DRAWN if names},
        "worth": _worth(shown),
        "verdicts": shown.contents.verdicts,
        "confusions": {arch: _confusions(parts) for arch, parts in shown.contents.tested.items()},
        "pairs": scores.pairs(comparisons).to_dict("records"),
        "predictions": _predictions(shown),
    }


def _worth(shown: RunView) -> list[dict[Hashable, Any]]:
    """What each search promised and what tuning has gained, by architecture."""
    if shown.worth.empty:
        return []
    return shown.worth.merge(shown.expectations, on="arch", how="left").to_dict("records")


def _predictions(shown: RunView) -> Values | None:
    """ROC and reliability curves by part of the test, and the worst misclassified images."""
    test = shown.predictions
    # record.json may be missing; comparisons.json names the classes too.
    classes = list(shown.images.index) or shown.contents.comparisons.get("classes")
    if test is None or not classes:
        return None
    by_arch = {arch: test.seed_runs("winner", arch) for arch in shown.contents.tested}
    winners = {arch: probabilities for arch, probabilities in by_arch.items() if len(probabilities)}
    parts: dict[str, Any] = {}
    for part in TEST_PARTS:
        inside = test.part(part)
        if not inside.any():
            continue
        labels = test.labels[inside]
        of_part = {arch: probabilities[:, inside] for arch, probabilities in winners.items()}
        by_class = {
            name: {arch: predictions.roc(of_arch, labels, label) for arch, of_arch in of_part.items()}
            for label, name in enumerate(classes)
        }
        parts[part] = {
            "roc": {
                name: score_figures.roc(curves)
                for name, curves in by_class.items()
                if any(map(len, curves.values()))
            },
            "reliability": score_figures.reliability(
                {arch: predictions.reliability(of_arch, labels) for arch, of_arch in of_part.items()}
            ),
        }
    return {
        "archs": list(winners),
        "parts": parts,
        "misclassified": predictions.misclassified(test, winners, classes).to_dict("records"),
    }


def _score_groups(table: pd.DataFrame) -> Iterator[Values]:
    """The score table by classifier: one line per part, one cell per metric (None where absent)."""
    for key, group in table.groupby(["classifier", "role"], sort=False):
        lines = []
        for part, cells in group.groupby("part", sort=False):
            first = cells.iloc[0]
            by_metric = {cell["metric"]: cell for cell in cells.to_dict("records")}
            lines.append(
                {
                    **{key: first[key] for key in ("n", "groups", "seeds")},
                    "part": part,
                    "cells": [by_metric.get(metric) for metric in formatting.METRICS],
                }
            )
        name, role = map(str, key)
        yield {"name": formatting.classifier(name, role), "role": role, "lines": lines}


def _confusions(parts: dict[str, Any]) -> dict[str, Values]:
    """Confusion of one winner by part: number of images, figure, counts [C, C], and scores by class."""
    return {
        part: {
            "n": parts[part]["n"],
            "figure": score_figures.confusion(parts[part]["confusion"], list(parts[part]["per_class"])),
            "counts": parts[part]["confusion"],
            "classes": scores.per_class(parts[part]).to_dict("records"),
        }
        for part in TEST_PARTS
    }


def compare(shown: RunView, others: Sequence[RunView]) -> Values:
    """Values of the comparison view: this run and the others side by side."""
    runs = [shown, *others]
    names = distinct_names(runs)
    table = comparison.results(
        names, [run.studies for run in runs], [run.spent for run in runs], [run.scores for run in runs]
    )
    drawn: dict[str, go.Figure] = {
        column: compare_figures.results(table, names, column)
        for column in ("best", *TEST_PARTS)
        if table[column].notna().any()
    }
    configs = {name: run.config for name, run in zip(names, runs, strict=True)}
    records = {name: run.contents.record for name, run in zip(names, runs, strict=True)}
    spaces = {name: run.contents.spaces for name, run in zip(names, runs, strict=True)}
    data = [run.contents.record.get("data", {}) for run in runs]
    same_cut = _alike(data, "cut_digest")
    same_test = True if same_cut else _alike(data, "test_digest", "unseen")
    return {
        "names": names,
        "title": findings.compare(table, same_cut=same_cut, same_test=same_test),
        "results": table.to_dict("records"),
        "figures": drawn,
        "settings": comparison.settings(configs, records, spaces),
        "same_cut": same_cut,
        "same_test": same_test,
    }


def _alike(data: Sequence[Values], *facts: str) -> bool | None:
    """Whether these facts about their images are equal in all runs; None if that is not known of each."""
    unknown = False
    for fact in facts:
        known = [of_run[fact] for of_run in data if of_run.get(fact) is not None]
        if any(value != known[0] for value in known):
            return False
        unknown |= len(known) < len(data)
    return None if unknown and len(data) > 1 else True


def distinct_names(runs: Sequence[RunView]) -> list[str]:
    """A distinct name per run: as many trailing parts of its path as are needed."""
    paths = [run.contents.folder.resolve().parts for run in runs]
    for parts in range(1, max(map(len, paths))):
        names = ["/".join(path[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{run.name} ({place})" for place, run in enumerate(runs, 1)]
