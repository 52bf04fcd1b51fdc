"""What the winners were worth, as tables: nothing is drawn or put in words here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tune_brain.records import TEST_PARTS
from tune_brain.report import formatting

LESS_IS_BETTER = frozenset({"log_loss", "calibration_error"})

SIGNIFICANT = 0.05
"""A corrected p-value below it counts as a difference."""


def scores(scores: Mapping[str, Any], comparisons: Mapping[str, Any]) -> pd.DataFrame:
    """One line for each classifier, part and metric: winners and baselines by architecture, then the floors.

    Log loss and calibration error of winners are those of their calibrated probabilities, where known.

    Columns: classifier (architecture or reference), role (winner, baseline, reference), part, n (images),
    groups, seeds, metric, mean, std, low, high (NaN where undefined), best (no winner has a better mean).
    """
    table = pd.DataFrame(
        _score_lines(scores, comparisons),
        columns=[
            "classifier",
            "role",
            "part",
            "n",
            "groups",
            "seeds",
            "metric",
            "mean",
            "std",
            "low",
            "high",
        ],
    ).astype(dict.fromkeys(("mean", "std", "low", "high"), float))
    sign = np.where(table["metric"].isin(LESS_IS_BETTER), -1.0, 1.0)
    value = (table["mean"] * sign).where(table["role"] == "winner")
    highest = value.groupby([table["part"], table["metric"]]).transform("max")
    table["best"] = value.notna() & (value == highest)
    return table


def _score_lines(scores: Mapping[str, Any], comparisons: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    baselines, references = comparisons.get("baselines", {}), comparisons.get("references", {})
    classifiers = [
        (arch, role, found[arch])
        for arch in scores
        for role, found in (("winner", scores), ("baseline", baselines))
        if arch in found
    ]
    classifiers += [
        (name, "reference", references[name]) for name in formatting.REFERENCES if name in references
    ]
    for name, role, parts in classifiers:
        for part in TEST_PARTS:
            about = {"classifier": name, "role": role, "part": part}
            about |= {key: parts[part][key] for key in ("n", "groups", "seeds")}
            # Beside the ensemble, which is calibrated, winners stand as calibrated as their bundles are.
            found = parts[part] | parts[part].get("calibrated", {})
            for metric in formatting.METRICS:
                if metric in found:
                    yield {**about, "metric": metric, **found[metric]}


def row_shares(confusion: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """[C, C], each row of a confusion matrix over its sum: recall on the diagonal; NaN without images."""
    counts = np.asarray(confusion, dtype=np.float64)
    total = counts.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return shares


def per_class(score: Mapping[str, Any]) -> pd.DataFrame:
    """One line for each class of one score: n, and the means of precision, recall, f1 and roc_auc."""
    measures = ("precision", "recall", "f1", "roc_auc")
    lines = [
        {"class": name, "n": found["n"], **{key: found.get(key, {}).get("mean") for key in measures}}
        for name, found in score["per_class"].items()
    ]
    return pd.DataFrame(lines).astype(dict.fromkeys(measures, float))


def retrained(comparisons: Mapping[str, Any]) -> pd.DataFrame:
    """Macro-F1 on validation by architecture: in the search, and on the mean of both roles' seed runs.

    Columns arch, search, winner, baseline, and winner_std over its seed runs; NaN where there are too few.
    """
    lines = []
    for arch, found in comparisons.get("validation", {}).items():
        line = {"arch": arch, "search": found["search"]}
        for role in ("winner", "baseline"):
            seeds = np.asarray(found[role], dtype=np.float64)
            line[role] = seeds.mean() if len(seeds) else np.nan
        seeds = found["winner"]
        line["winner_std"] = np.std(seeds, ddof=1) if len(seeds) > 1 else np.nan
        lines.append(line)
    return pd.DataFrame(lines)


def worth(scores: pd.DataFrame, retrained: pd.DataFrame) -> pd.DataFrame:
    """Was the search worth it: one line for each architecture, all in macro-F1.

    Columns arch, search (the winner's score when it was chosen), winner (trained again, on validation) and
    winner_std, official and unseen (on the test), optimism (search less trained again), gain_validation,
    gain_official and gain_unseen (winner less untuned baseline, both trained again; NaN where the baseline
    won).
    """
    means = scores[scores["metric"] == "f1"].set_index(["classifier", "role", "part"])["mean"]
    lines = []
    for line in retrained.to_dict("records"):
        arch = line["arch"]
        found = {part: means.get((arch, "winner", part), np.nan) for part in TEST_PARTS}
        gains = {
            f"gain_{part}": found[part] - means.get((arch, "baseline", part), np.nan) for part in TEST_PARTS
        }
        lines.append(
            {
                **{key: line[key] for key in ("arch", "search", "winner", "winner_std")},
                **found,
                "optimism": line["search"] - line["winner"],
                "gain_validation": line["winner"] - line["baseline"],
                **gains,
            }
        )
    return pd.DataFrame(lines)


def pairs(comparisons: Mapping[str, Any]) -> pd.DataFrame:
    """McNemar's tests, the unseen part first; `better` names who is, or is empty."""
    lines = [
        {**row, "better": _better(row)}
        for part in reversed(TEST_PARTS)
        for row in comparisons.get("mcnemar", [])
        if row["part"] == part
    ]
    return pd.DataFrame(lines, columns=["part", "a", "b", "only_a", "only_b", "p", "p_holm", "better"])


def _better(row: Mapping[str, Any]) -> str:
    if row["p_holm"] >= SIGNIFICANT:
        return ""
    return str(row["a"] if row["only_a"] > row["only_b"] else row["b"])


def images(data: Mapping[str, Any]) -> pd.DataFrame:
    """How many images, by class (the index) and part: train, validation, official, unseen."""
    counts = data.get("counts", {})
    parts = {
        "train": counts.get("train", {}),
        "validation": counts.get("validation", {}),
        "official": data.get("official", {}),
        "unseen": data.get("unseen", {}),
    }
    return pd.DataFrame(parts, index=data.get("classes", []), columns=list(parts)).fillna(0).astype(int)
