"""Calibrated winners and their ensemble: fitted on validation, then scored on the sealed test."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tune_brain.array_types import Flags, Floats, Ints
from tune_brain.evaluate import calibration
from tune_brain.evaluate.between import difference, sign_test
from tune_brain.evaluate.calibration import FALSE_REJECTIONS
from tune_brain.evaluate.predictions import Predictions
from tune_brain.evaluate.scores import phrase
from tune_brain.evaluate.statistics import score, weighted_measures
from tune_brain.evaluate.validation import Validated
from tune_brain.portable.ood import Reference, distance, fit
from tune_brain.portable.probabilities import calibrated, logits_of, mean
from tune_brain.records import TEST_PARTS, seeds_of

ENSEMBLE = "ensemble"
CLAIMS = ("accuracy", "f1", "log_loss")
"""The measures that an exported model claims and `tune-brain verify` recomputes."""
LEAST_SHARE = 0.01
"""An architecture with a smaller share of the ensemble is dropped: it would cost time and change nothing."""

Scores = dict[str, Any]
Calibrated = Mapping[str, Floats]
"""Calibrated probabilities for the test: [S, N, C] by architecture, [1, N, C] for the ensemble."""


def fit_all(validated: Validated, archs: Sequence[str]) -> Scores:
    """Fit everything that validation decides besides the winners: the content of calibration.json.

    Args:
        validated: predictions on validation, and features of training and validation images.
        archs: the architectures whose winners have a finished seed run.

    Returns:
        `temperatures` by seed run; `weights` by seed run, each architecture's share split evenly over its
        seeds; for each exported model (an architecture's first seed run, or the ensemble) `calibration_error`
        and `log_loss` on validation, before and after calibration, and `abstention`; and `ood`, the
        distribution of the training images, the distance from which an image is rejected, and the share
        of the validation images that are.
    """
    labels, logits = validated.labels, validated.logits
    temperatures = {name: calibration.temperature(of_run, labels) for name, of_run in logits.items()}
    by_name = {name: calibrated(of_run, temperatures[name]) for name, of_run in logits.items()}
    seeds = {arch: validated.of(arch) for arch in archs}
    shares = _shares(by_name, seeds, labels)
    weights = {
        name: shares[arch] / len(names) for arch, names in seeds.items() for name in names if shares[arch]
    }
    uncalibrated = {name: calibrated(of_run, 1.0) for name, of_run in logits.items()}
    before = {arch: uncalibrated[names[0]] for arch, names in seeds.items()}
    before[ENSEMBLE] = _mix(uncalibrated, weights)
    after = {arch: by_name[names[0]] for arch, names in seeds.items()}
    mixed = logits_of(_mix(by_name, weights))
    # The mean of calibrated members is underconfident, so it gets a temperature of its own.
    ensemble_temperature = calibration.temperature(mixed, labels)
    after[ENSEMBLE] = calibrated(mixed, ensemble_temperature)
    ood, foreign = _rejection(validated)
    return {
        "n": len(labels),
        "temperatures": temperatures,
        "ensemble_temperature": ensemble_temperature,
        "weights": weights,
        "shares": shares,
        "validation": {name: _before_and_after(before[name], after[name], labels) for name in after},
        "abstention": {
            name: calibration.abstention(probabilities, labels, foreign)
            for name, probabilities in after.items()
        },
        "ood": ood,
    }


def _shares(
    by_name: Mapping[str, Floats], seeds: Mapping[str, Sequence[str]], labels: Ints
) -> dict[str, float]:
    """The share of each architecture in the ensemble, from the calibrated probabilities of its seed runs."""
    by_arch = np.stack([np.mean([by_name[name] for name in names], axis=0) for names in seeds.values()])
    shares = calibration.weights(by_arch, labels)
    shares[shares < LEAST_SHARE] = 0
    return dict(zip(seeds, (shares / shares.sum()).tolist(), strict=True))


def _rejection(validated: Validated) -> tuple[dict[str, Any], Flags]:
    """The limits beyond which an image is foreign, and which validation images are."""
    reference = fit(validated.known_features)
    distances = distance(reference, validated.features)
    # Between two distances, a limit would reject more than the allowed share of few images.
    max_distance = float(np.quantile(distances, 1 - FALSE_REJECTIONS, method="higher"))
    foreign = distances > max_distance
    return {
        "mean": reference.mean.tolist(),
        "precision": reference.precision.tolist(),
        "max_distance": max_distance,
        "false_rejections": float(foreign.mean()),
    }, foreign


def add_scores(
    scores: Scores,
    test: Predictions,
    fitted: Mapping[str, Any],
    predicted: Calibrated,
    classes: Sequence[str],
) -> Scores:
    """Add the ensemble's scores and, for every winner and part, the scores after calibration.

    Args:
        scores: of the winners, by architecture and part.
        test: the predictions.
        fitted: what `fit_all` returns.
        predicted: what `calibrated_predictions` returns.
        classes: names, in the order of the probabilities.

    Returns:
        The scores, for each part with `calibrated`: calibration error and log loss of the calibrated
        probabilities; `answered`: how many images the exported model answers if it may abstain, their share,
        and its accuracy on them; `foreign`: the share of images rejected as out-of-distribution; and
        `exported`: the scores of the exported model alone.
    """
    distances = distance(
        Reference(*(np.array(fitted["ood"][key]) for key in ("mean", "precision"))), test.features
    )
    foreign = distances > fitted["ood"]["max_distance"]
    extended: Scores = {name: {} for name in predicted}
    for name, of_model in predicted.items():
        for part in TEST_PARTS:
            inside = test.part(part)
            labels, probabilities = test.labels[inside], of_model[:, inside]
            measures = score(probabilities, labels, test.groups[inside], classes)
            extended[name][part] = (measures if name == ENSEMBLE else scores[name][part]) | {
                "calibrated": {measure: measures[measure] for measure in ("calibration_error", "log_loss")},
                "answered": _answered(
                    probabilities[0], labels, fitted["abstention"][name]["min_confidence"], foreign[inside]
                ),
                "foreign": _share(foreign[inside]),
                "exported": exported(probabilities[0], labels),
            }
    return extended


def against_best(
    test: Predictions, predicted: Calibrated, validation: Mapping[str, Sequence[float]]
) -> tuple[Scores, str]:
    """Compare the ensemble with the first seed run of the winner that is best on validation.

    Args:
        test: the predictions.
        predicted: what `calibrated_predictions` returns.
        validation: macro-F1 of each winner's seed runs on validation, by architecture.

    Returns:
        The name of that winner and the comparison on each part of the test; and a sentence about it.
    """
    best = max(validation, key=lambda arch: float(np.mean(validation[arch])))
    parts = {}
    for part in TEST_PARTS:
        inside = test.part(part)
        labels, groups = test.labels[inside], test.groups[inside]
        ours, theirs = predicted[ENSEMBLE][0][inside], predicted[best][0][inside]
        parts[part] = {
            **sign_test(ours.argmax(1) == labels, theirs.argmax(1) == labels, groups),
            "macro_f1": difference(ours[None], theirs[None], labels, groups),
        }
    return {"best_single": best, "parts": parts}, _verdict(best, parts, test, predicted)


def calibrated_predictions(test: Predictions, fitted: Mapping[str, Any], archs: Sequence[str]) -> Calibrated:
    """The calibrated test probabilities of the winners and of the ensemble.

    Args:
        test: the predictions.
        fitted: what `fit_all` returns.
        archs: the architectures of the winners.
    """
    by_name = {}
    for name, temperature in fitted["temperatures"].items():
        by_name[name] = calibrated(logits_of(test.probabilities[name]), temperature)
    by_arch = {
        arch: np.stack([by_name[name] for name in seeds_of(by_name, "winner", arch)]) for arch in archs
    }
    mixed = logits_of(_mix(by_name, fitted["weights"]))
    return {**by_arch, ENSEMBLE: calibrated(mixed, fitted["ensemble_temperature"])[None]}


def exported(probabilities: Floats, labels: Ints) -> dict[str, float | None]:
    """The measures `CLAIMS` of an exported model's probabilities [N, C]; None without images."""
    if not len(labels):
        return dict.fromkeys(CLAIMS)
    return dict(zip(CLAIMS, _values(probabilities, labels, CLAIMS), strict=True))


def _before_and_after(before: Floats, after: Floats, labels: Ints) -> dict[str, Any]:
    """Calibration error and log loss of probabilities [N, C] before and after calibration."""
    names = ("calibration_error", "log_loss")
    pairs = zip(_values(before, labels, names), _values(after, labels, names), strict=True)
    return {name: {"before": old, "after": new} for name, (old, new) in zip(names, pairs, strict=True)}


def _values(probabilities: Floats, labels: Ints, names: Sequence[str]) -> list[float]:
    measures = weighted_measures(probabilities, labels, np.ones((1, len(labels))))
    return [float(measures[name][0]) for name in names]


def _mix(probabilities: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    return mean(np.stack([probabilities[name] for name in weights]), list(weights.values()))


def _answered(probabilities: Floats, labels: Ints, min_confidence: float, foreign: Flags) -> Scores:
    answered = (probabilities.max(1) >= min_confidence) & ~foreign
    correct = probabilities.argmax(1)[answered] == labels[answered]
    return {"n": int(answered.sum()), "share": _share(answered), "accuracy": _share(correct)}


def _share(flags: Flags) -> float | None:
    return float(flags.mean()) if len(flags) else None


def _verdict(best: str, parts: Scores, test: Predictions, predicted: Calibrated) -> str:
    if (predicted[ENSEMBLE][0].argmax(1) == predicted[best][0].argmax(1)).all():
        return f"ensemble: it gives every test image the same class as the best single winner ({best})."
    part = test.main_part
    compared, n = parts[part], int(test.part(part).sum())
    difference_in_words = phrase(compared["macro_f1"], f"the best single winner on validation ({best})")
    return (
        f"ensemble: it {difference_in_words}, on {n} {part} images; {compared['only_a']} only the ensemble "
        f"gets right, {compared['only_b']} only {best} (of the groups of related images it is ahead in "
        f"{compared['groups_a']} and behind in {compared['groups_b']}: sign test, p = {compared['p']:.2g})."
    )
