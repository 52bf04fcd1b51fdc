"""Calibrated winners and their ensemble: fitted on validation, then scored on the test."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_brain.evaluate import calibration
from tune_brain.evaluate.calibration import FALSE_REJECTIONS
from tune_brain.evaluate.predictions import Predictions
from tune_brain.evaluate.scores import phrase
from tune_brain.evaluate.statistics import difference, mcnemar, score, weighted_measures
from tune_brain.evaluate.validation import Validated
from tune_brain.portable.ood import Reference, distance, fit
from tune_brain.portable.probabilities import Floats, calibrated, logits_of, mean
from tune_brain.records import TEST_PARTS, seeds_of

ENSEMBLE = "ensemble"
CLAIMS = ("accuracy", "f1", "log_loss")
LEAST = 0.01
"""An architecture with a smaller share costs its time for nothing and is left out."""

Scores = dict[str, Any]
Calibrated = Mapping[str, Floats]
"""Calibrated probabilities for the test: [S, N, C] by architecture, [1, N, C] of the ensemble."""


def fit_all(found: Validated, archs: Sequence[str]) -> Scores:
    """Everything that validation decides beside the winners, as plain values: calibration.json.

    `temperatures` by seed run; `weights` by seed run, a share for each architecture split evenly over its
    seeds; `calibration_error` and `log_loss` on validation, before and after, and `abstention`, by exported
    model: an architecture's first seed run, and the ensemble; `ood`, what training images look like.
    """
    labels = found.labels
    temperatures = {name: calibration.temperature(logits, labels) for name, logits in found.logits.items()}
    by_name = {name: calibrated(logits, temperatures[name]) for name, logits in found.logits.items()}
    seeds = {arch: found.of(arch) for arch in archs}
    by_arch = np.stack([np.mean([by_name[name] for name in names], axis=0) for names in seeds.values()])
    parts = calibration.weights(by_arch, labels)
    parts[parts < LEAST] = 0
    shares = dict(zip(archs, (parts / parts.sum()).tolist(), strict=True))
    weights = {
        name: shares[arch] / len(names) for arch, names in seeds.items() for name in names if shares[arch]
    }
    raw = {name: calibrated(logits, 1.0) for name, logits in found.logits.items()}
    before = {arch: raw[names[0]] for arch, names in seeds.items()}
    before[ENSEMBLE] = _mix(raw, weights)
    after = {arch: by_name[names[0]] for arch, names in seeds.items()}
    mixed = logits_of(_mix(by_name, weights))
    # The mean of calibrated members is underconfident, so it gets a temperature of its own.
    ensemble_temperature = calibration.temperature(mixed, labels)
    after[ENSEMBLE] = calibrated(mixed, ensemble_temperature)
    reference = fit(found.known_features)
    distances = distance(reference, found.features)
    return {
        "n": len(labels),
        "temperatures": temperatures,
        "ensemble_temperature": ensemble_temperature,
        "weights": weights,
        "shares": shares,
        "validation": {
            name: {
                measure: {
                    "before": function(before[name], labels),
                    "after": function(after[name], labels),
                }
                for measure, function in (
                    ("calibration_error", calibration.calibration_error),
                    ("log_loss", calibration.log_loss),
                )
            }
            for name in after
        },
        "abstention": {name: calibration.abstention(said, labels) for name, said in after.items()},
        "ood": {
            "mean": reference.mean.tolist(),
            "precision": reference.precision.tolist(),
            "max_distance": float(np.quantile(distances, 1 - FALSE_REJECTIONS)),
            "false_rejections": FALSE_REJECTIONS,
        },
    }


def add_scores(
    scores: Scores,
    test: Predictions,
    fitted: Mapping[str, Any],
    predicted: Calibrated,
    classes: Sequence[str],
) -> Scores:
    """The scores with those of the ensemble and, for every winner and part, what calibration changes.

    `calibrated` holds calibration error and log loss of the calibrated probabilities; `answered` what the
    exported model answers when it may abstain: the share of images, and its accuracy on them; `foreign` the
    share of images taken for something else than those of the training; `exported` the scores of the exported
    model alone.
    """
    distances = distance(
        Reference(*(np.array(fitted["ood"][key]) for key in ("mean", "precision"))), test.features
    )
    foreign = distances > fitted["ood"]["max_distance"]
    whole: Scores = {**scores, ENSEMBLE: {part: {} for part in TEST_PARTS}}
    for name, probabilities in predicted.items():
        for part in TEST_PARTS:
            inside = test.part(part)
            labels, said = test.labels[inside], probabilities[:, inside]
            found = score(said, labels, test.groups[inside], classes)
            if name == ENSEMBLE:
                whole[name][part] = found
            whole[name][part] = whole[name][part] | {
                "calibrated": {measure: found[measure] for measure in ("calibration_error", "log_loss")},
                "answered": _answered(
                    said[0], labels, fitted["abstention"][name]["min_confidence"], foreign[inside]
                ),
                "foreign": _share(foreign[inside]),
                "exported": exported(said[0], labels),
            }
    return whole


def against_best(
    test: Predictions, predicted: Calibrated, validation: Mapping[str, Sequence[float]]
) -> Scores:
    """The ensemble beside the single winner that is best on validation, by its first seed run.

    Args:
        test: the predictions.
        predicted: what `calibrated_predictions` gives.
        validation: macro-F1 of the seed runs on validation, by the winner's architecture.
    """
    best = max(validation, key=lambda arch: float(np.mean(validation[arch])))
    parts = {}
    for part in TEST_PARTS:
        inside = test.part(part)
        labels, groups = test.labels[inside], test.groups[inside]
        ours, theirs = predicted[ENSEMBLE][0][inside], predicted[best][0][inside]
        parts[part] = {
            **mcnemar(ours.argmax(1) == labels, theirs.argmax(1) == labels),
            "macro_f1": difference(ours[None], theirs[None], labels, groups),
        }
    return {"best_single": best, "parts": parts, "verdict": _verdict(best, parts, test)}


def calibrated_predictions(test: Predictions, fitted: Mapping[str, Any], archs: Sequence[str]) -> Calibrated:
    """What the winners and the ensemble say of the test once they are calibrated."""
    by_name = {}
    for name, temperature in fitted["temperatures"].items():
        by_name[name] = calibrated(logits_of(test.probabilities[name]), temperature)
    by_arch = {
        arch: np.stack([by_name[name] for name in seeds_of(by_name, "winner", arch)]) for arch in archs
    }
    mixed = logits_of(_mix(by_name, fitted["weights"]))
    return {**by_arch, ENSEMBLE: calibrated(mixed, fitted["ensemble_temperature"])[None]}


def exported(probabilities: Floats, labels: NDArray[np.int64]) -> dict[str, float | None]:
    """What `tune-brain verify` computes again of a bundle's probabilities [N, C]; None without images."""
    if not len(labels):
        return dict.fromkeys(CLAIMS)
    found = weighted_measures(probabilities, labels, np.ones((1, len(labels))))
    return {name: float(found[name][0]) for name in CLAIMS}


def _mix(probabilities: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    return mean(np.stack([probabilities[name] for name in weights]), list(weights.values()))


def _answered(
    probabilities: Floats, labels: NDArray[np.int64], min_confidence: float, foreign: NDArray[np.bool_]
) -> Scores:
    inside = (probabilities.max(1) >= min_confidence) & ~foreign
    right = probabilities.argmax(1)[inside] == labels[inside]
    return {"n": int(inside.sum()), "share": _share(inside), "accuracy": _share(right)}


def _share(chosen: NDArray[np.bool_]) -> float | None:
    return float(chosen.mean()) if len(chosen) else None


def _verdict(best: str, parts: Scores, test: Predictions) -> str:
    found, n = parts[test.telling], int(test.part(test.telling).sum())
    said = phrase(found["macro_f1"], f"{best}, the best single winner on validation")
    return (
        f"ensemble: it {said}, on {n} {test.telling} images; McNemar p = {found['p']:.2g}, "
        f"right alone on {found['only_a']}, {best} on {found['only_b']}."
    )
