"""Several runs side by side, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tune_brain.config import RunConfig
from tune_brain.records import TEST_PARTS
from tune_brain.space import Space


def results(
    names: Sequence[str], studies: Sequence[pd.DataFrame], scores: Sequence[pd.DataFrame]
) -> pd.DataFrame:
    """One line for each architecture of each run, by architecture.

    Columns arch, run, configurations, seconds, best and baseline (macro-F1 on validation), and for each
    part of the test the winner's macro-F1: `<part>`, `<part>_low`, `<part>_high`; NaN before it is opened.

    Args:
        names: of the runs.
        studies: `studies.studies` of each.
        scores: `scores.scores` of each.
    """
    lines: list[dict[str, Any]] = []
    for name, of_run, tested in zip(names, studies, scores, strict=True):
        for study in of_run.to_dict("records"):
            line = {
                "arch": study["arch"],
                "run": name,
                **{key: study[key] for key in ("configurations", "seconds", "best", "baseline")},
            }
            own = (tested["classifier"] == study["arch"]) & (tested["role"] == "winner")
            for part in TEST_PARTS:
                found = tested[own & (tested["part"] == part) & (tested["metric"] == "f1")]
                for key, column in (("", "mean"), ("_low", "low"), ("_high", "high")):
                    line[part + key] = found[column].iloc[0] if len(found) else float("nan")
            lines.append(line)
    order = {arch: place for place, arch in enumerate(dict.fromkeys(line["arch"] for line in lines))}
    lines.sort(key=lambda line: order[line["arch"]])
    return pd.DataFrame(lines)


def settings(
    configs: Mapping[str, RunConfig],
    records: Mapping[str, Mapping[str, Any]],
    spaces: Mapping[str, Mapping[str, Space]],
) -> pd.DataFrame:
    """What was asked of each run and differs between them: a line for each setting, a column for each run.

    Args:
        configs: of the runs, by name.
        records: where they came from.
        spaces: what each searched, by architecture.
    """
    asked = {
        name: {
            **config.model_dump(mode="json", exclude={"out", "spaces", "arch"}),
            "images": records[name].get("data", {}).get("digest", "not known")[:12],
            "commit": (records[name].get("commit") or "not known")[:12],
            "weights": records[name].get("weights"),
            **{f"precision of {arch}": kind for arch, kind in records[name].get("precision", {}).items()},
            **_searched(spaces[name]),
        }
        for name, config in configs.items()
    }
    table = pd.DataFrame(asked).map(_plain)
    return table[table.nunique(axis=1) > 1]


def _searched(spaces: Mapping[str, Space]) -> dict[str, str]:
    told = {}
    for arch, space in spaces.items():
        for name, limits in space.tuned.items():
            scale = ", log" if limits.log else ""
            told[f"{name} of {arch}"] = f"{limits.low:g} to {limits.high:g}{scale}"
            told[f"untuned {name} of {arch}"] = f"{space.baseline[name]:g}"
        told |= {f"{name} of {arch}": f"{value:g}" for name, value in space.fixed.items()}
        if space.first:
            told[f"{arch} configurations that were given"] = str(len(space.first))
    return told


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "-" if value is None or value != value else str(value)
