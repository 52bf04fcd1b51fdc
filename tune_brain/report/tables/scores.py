"""Tables of the test scores: winners, baselines and references, gains of tuning, pairwise tests."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tune_brain.array_types import Floats
from tune_brain.records import TEST_PARTS
from tune_brain.report import formatting

LESS_IS_BETTER = frozenset({"log_loss", "calibration_error"})

SIGNIFICANT = 0.05
"""A difference is significant if its corrected p-value is below this."""


def scores(scores: Mapping[str, Any], comparisons: Mapping[str, Any]) -> pd.DataFrame:
    """One line per classifier, part and metric: winners and baselines by architecture, then references.

    Winners' log loss and calibration error are computed from calibrated probabilities, where available.

    Args:
        scores: content of scores.json.
        comparisons: content of comparisons.json.

    Returns:
        Columns classifier (architecture or reference), role (winner, baseline, reference), part, n (images),
        groups, seeds, metric, mean, std, low, high (NaN if undefined), best (a winner with the best mean).
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
        (arch, role, by_arch[arch])
        for arch in scores
        for role, by_arch in (("winner", scores), ("baseline", baselines))
        if arch in by_arch
    ]
    classifiers += [
        (name, "reference", references[name]) for name in formatting.REFERENCES if name in references
    ]
    for name, role, parts in classifiers:
        for part in TEST_PARTS:
            line = {"classifier": name, "role": role, "part": part}
            line |= {key: parts[part][key] for key in ("n", "groups", "seeds")}
            # The ensemble's probabilities are calibrated: those of winners are compared with it after their
            # calibration, as their bundles return them.
            metrics = parts[part] | parts[part].get("calibrated", {})
            for metric in formatting.METRICS:
                if metric in metrics:
                    yield {**line, "metric": metric, **metrics[metric]}


def row_shares(confusion: Sequence[Sequence[float]]) -> Floats:
    """Shares [C, C] of each row of a confusion matrix, NaN for an empty row; the diagonal is the recall."""
    counts = np.asarray(confusion, dtype=np.float64)
    total = counts.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
    return shares


def per_class(score: Mapping[str, Any]) -> pd.DataFrame:
    """One line per class of one score: class, n, and the means of precision, recall, f1 and roc_auc."""
    metrics = ("precision", "recall", "f1", "roc_auc")
    lines = [
        {"class": name, "n": of_class["n"], **{key: of_class.get(key, {}).get("mean") for key in metrics}}
        for name, of_class in score["per_class"].items()
    ]
    return pd.DataFrame(lines).astype(dict.fromkeys(metrics, float))


def retrained(comparisons: Mapping[str, Any]) -> pd.DataFrame:
    """Macro-F1 on validation by architecture: of the winner in the search, and of the seed runs.

    Columns arch, search, winner and baseline (means over seed runs), and winner_std (over the winner's seed
    runs); NaN if there are too few.
    """
    lines = []
    for arch, validation in comparisons.get("validation", {}).items():
        line = {"arch": arch, "search": validation["search"]}
        for role in ("winner", "baseline"):
            seeds = np.asarray(validation[role], dtype=np.float64)
            line[role] = seeds.mean() if len(seeds) else np.nan
        seeds = validation["winner"]
        line["winner_std"] = np.std(seeds, ddof=1) if len(seeds) > 1 else np.nan
        lines.append(line)
    return pd.DataFrame(lines)


def worth(scores: pd.DataFrame, retrained: pd.DataFrame) -> pd.DataFrame:
    """What tuning gained: one line per architecture, all in macro-F1.

    Columns arch, search (the winner's score when it was chosen), winner (retrained, on validation) and
    winner_std, official and unseen (on the test), optimism (search less winner), gain_validation,
    gain_official and gain_unseen (winner less untuned baseline, both retrained; NaN if the baseline won).

    Args:
        scores: see `scores`.
        retrained: see `retrained`.
    """
    means = scores[scores["metric"] == "f1"].set_index(["classifier", "role", "part"])["mean"]
    lines = []
    for line in retrained.to_dict("records"):
        arch = line["arch"]
        tested = {part: means.get((arch, "winner", part), np.nan) for part in TEST_PARTS}
        gains = {
            f"gain_{part}": tested[part] - means.get((arch, "baseline", part), np.nan) for part in TEST_PARTS
        }
        lines.append(
            {
                **{key: line[key] for key in ("arch", "search", "winner", "winner_std")},
                **tested,
                "optimism": line["search"] - line["winner"],
                "gain_validation": line["winner"] - line["baseline"],
                **gains,
            }
        )
    return pd.DataFrame(lines)


def pairs(comparisons: Mapping[str, Any]) -> pd.DataFrame:
    """The sign tests, the unseen part first; `better` is the significantly better classifier or empty.

    `groups_a` and `groups_b` are NaN in runs that were evaluated when the test was over images.
    """
    lines = [
        {**row, "better": _better(row)}
        for part in reversed(TEST_PARTS)
        for row in comparisons.get("mcnemar", [])
        if row["part"] == part
    ]
    counts = ["only_a", "only_b", "groups_a", "groups_b"]
    return pd.DataFrame(lines, columns=["part", "a", "b", *counts, "p", "p_holm", "better"])


def _better(row: Mapping[str, Any]) -> str:
    if row["p_holm"] >= SIGNIFICANT:
        return ""
    over = "groups" if "groups_a" in row else "only"
    return str(row["a"] if row[f"{over}_a"] > row[f"{over}_b"] else row["b"])


def images(data: Mapping[str, Any]) -> pd.DataFrame:
    """Number of images by class (index) and part: columns train, validation, official, unseen."""
    counts = data.get("counts", {})
    parts = {
        "train": counts.get("train", {}),
        "validation": counts.get("validation", {}),
        "official": data.get("official", {}),
        "unseen": data.get("unseen", {}),
    }
    return pd.DataFrame(parts, index=data.get("classes", []), columns=list(parts)).fillna(0).astype(int)
