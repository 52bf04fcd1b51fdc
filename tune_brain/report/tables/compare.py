"""Tables that compare several runs: their results, and the settings in which they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tune_brain.config import RunConfig
from tune_brain.records import TEST_PARTS
from tune_brain.report import formatting
from tune_brain.space import Space

ENSEMBLE = "ensemble"
"""Its name among the classifiers of `scores.scores`."""


def results(
    names: Sequence[str],
    studies: Sequence[pd.DataFrame],
    spent: Sequence[Mapping[str, tuple[int, float]]],
    scores: Sequence[pd.DataFrame],
) -> pd.DataFrame:
    """One line per architecture and run, sorted by architecture; the ensembles of runs with scores come last.

    Columns arch, run, configurations, seconds (of worker time), best and baseline (macro-F1 on validation),
    and for each part of the test the winner's macro-F1: `<part>`, `<part>_low`, `<part>_high`; NaN until the
    test is opened. An ensemble has only the latter.

    Args:
        names: names of the runs.
        studies: `studies.studies` of each run.
        spent: `pace.spent` of each run.
        scores: `scores.scores` of each run.
    """
    lines: list[dict[str, Any]] = []
    for name, of_run, spent_by_arch, tested in zip(names, studies, spent, scores, strict=True):
        for study in of_run.to_dict("records"):
            line = {
                "arch": study["arch"],
                "run": name,
                "seconds": spent_by_arch.get(study["arch"], (0, 0.0))[1],
                **{key: study[key] for key in ("configurations", "best", "baseline")},
            }
            lines.append(line | _tested(tested, study["arch"]))
        if ENSEMBLE in set(tested["classifier"]):
            lines.append({"arch": ENSEMBLE, "run": name} | _tested(tested, ENSEMBLE))
    order = {arch: place for place, arch in enumerate(dict.fromkeys(line["arch"] for line in lines))}
    lines.sort(key=lambda line: (line["arch"] == ENSEMBLE, order[line["arch"]]))
    return pd.DataFrame(lines)


def _tested(scores: pd.DataFrame, winner: str) -> dict[str, float]:
    """Macro-F1 of a winner or the ensemble on each part of the test, with its interval."""
    of_winner = (scores["classifier"] == winner) & (scores["role"] == "winner") & (scores["metric"] == "f1")
    line = {}
    for part in TEST_PARTS:
        score = scores[of_winner & (scores["part"] == part)]
        for key, column in (("", "mean"), ("_low", "low"), ("_high", "high")):
            line[part + key] = score[column].iloc[0] if len(score) else float("nan")
    return line


def settings(
    configs: Mapping[str, RunConfig],
    records: Mapping[str, Mapping[str, Any]],
    spaces: Mapping[str, Mapping[str, Space]],
) -> pd.DataFrame:
    """The settings in which the runs differ: one line per setting, one column per run.

    Args:
        configs: configurations of the runs, by name.
        records: contents of their record.json, by name; empty where it is missing.
        spaces: the spaces that each searched, by name and architecture.
    """
    settings = {
        name: {
            **config.model_dump(mode="json", exclude={"out", "spaces", "arch"}),
            "images": records[name].get("data", {}).get("digest", "unknown")[:12],
            "commit": formatting.commit(records[name].get("commit") or "unknown"),
            "version": records[name].get("tune_brain"),
            "Python": records[name].get("python"),
            **{f"version of {package}": n for package, n in records[name].get("packages", {}).items()},
            "weights": records[name].get("weights"),
            **{f"precision of {arch}": kind for arch, kind in records[name].get("precision", {}).items()},
            **_searched(spaces[name]),
        }
        for name, config in configs.items()
    }
    table = pd.DataFrame(settings).map(_plain)
    return table[table.nunique(axis=1) > 1]


def _searched(spaces: Mapping[str, Space]) -> dict[str, str]:
    """Ranges, baseline values and fixed values of the spaces, by label."""
    settings = {}
    for arch, space in spaces.items():
        for name, limits in space.tuned.items():
            scale = ", log" if limits.log else ""
            settings[f"{name} of {arch}"] = f"{limits.low:g} to {limits.high:g}{scale}"
            settings[f"untuned {name} of {arch}"] = f"{space.baseline[name]:g}"
        settings |= {f"{name} of {arch}": f"{value:g}" for name, value in space.fixed.items()}
        if space.first:
            settings[f"{arch}, warm-start configurations"] = str(len(space.first))
    return settings


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "-" if value is None or value != value else str(value)
