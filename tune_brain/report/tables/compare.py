"""Tables that compare several runs: their results, and the settings in which they differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tune_brain.config import RunConfig
from tune_brain.records import TEST_PARTS
from tune_brain.space import Space


def results(
    names: Sequence[str],
    studies: Sequence[pd.DataFrame],
    spent: Sequence[Mapping[str, tuple[int, float]]],
    scores: Sequence[pd.DataFrame],
) -> pd.DataFrame:
    """One line per architecture and run, sorted by architecture.

    Columns arch, run, configurations, seconds (of worker time), best and baseline (macro-F1 on validation),
    and for each part of the test the winner's macro-F1: `<part>`, `<part>_low`, `<part>_high`; NaN until the
    test is opened.

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
            winner = (tested["classifier"] == study["arch"]) & (tested["role"] == "winner")
            for part in TEST_PARTS:
                score = tested[winner & (tested["part"] == part) & (tested["metric"] == "f1")]
                for key, column in (("", "mean"), ("_low", "low"), ("_high", "high")):
                    line[part + key] = score[column].iloc[0] if len(score) else float("nan")
            lines.append(line)
    order = {arch: place for place, arch in enumerate(dict.fromkeys(line["arch"] for line in lines))}
    lines.sort(key=lambda line: order[line["arch"]])
    return pd.DataFrame(lines)


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
            "commit": (records[name].get("commit") or "unknown")[:12],
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
