"""The ensemble, its calibration and its rejections, on networks whose quality is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from predicted import predictions
from sklearn.metrics import accuracy_score, f1_score, log_loss

from tune_brain.evaluate.calibration import abstention
from tune_brain.evaluate.ensemble import ENSEMBLE, add_scores, against_best, calibrated_predictions, fit_all
from tune_brain.evaluate.predictions import Predictions
from tune_brain.evaluate.validation import Validated
from tune_brain.portable.ood import Reference, distance
from tune_brain.portable.probabilities import calibrated

ARCHS = ("linear", "cnn", "resnet18")
NOISE = {"linear": 1.0, "cnn": 0.5, "resnet18": np.inf}
"""Standard deviation of the error in the logits; the resnet18 predicts nothing but noise."""
CLASSES = ("glioma", "meningioma", "notumor", "pituitary")
IMAGES = 600
OVERCONFIDENCE = 3.0


def networks(n: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Labels [n], and the overconfident logits [n, 4] of two seed runs of each architecture."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(scale=3, size=(n, 4))
    labels = (calibrated(truth, 1).cumsum(1) > generator.random((n, 1))).argmax(1)
    logits = {}
    for arch, noise in NOISE.items():
        for index in range(2):
            error = generator.normal(size=truth.shape)
            found = truth + noise * error if np.isfinite(noise) else error
            logits[f"winner-{arch}-{index}"] = (OVERCONFIDENCE * found).astype(np.float32)
    return labels, logits


@pytest.fixture(scope="module")
def validated() -> Validated:
    labels, logits = networks(IMAGES, 0)
    generator = np.random.default_rng(1)
    return Validated(
        labels=labels,
        logits=logits,
        known=np.zeros(2000, np.int64),
        embeddings={},
        features=generator.normal(size=(IMAGES, 3)),
        known_features=generator.normal(size=(2000, 3)),
        weights={},
    )


@pytest.fixture(scope="module")
def fitted(validated: Validated) -> dict[str, Any]:
    return fit_all(validated, ARCHS)


@pytest.fixture(scope="module")
def test() -> Predictions:
    """Sixty images in six groups; of the last group, which is unlike all others, four are unseen."""
    labels, logits = networks(60, 2)
    features = np.random.default_rng(3).uniform(-1, 1, size=(60, 3))
    features[50:] += 20
    probabilities = {name: calibrated(values, 1) for name, values in logits.items()}
    baseline = {"baseline-cnn-0": probabilities["winner-linear-0"]}
    return predictions(
        labels,
        groups=np.arange(60) // 10,
        unseen=np.arange(60) < 54,
        features=features,
        probabilities=probabilities | baseline,
    )


@pytest.fixture(scope="module")
def predicted(test: Predictions, fitted: dict[str, Any]) -> Any:
    return calibrated_predictions(test, fitted, ARCHS)


def test_each_seed_run_gets_the_temperature_that_undoes_its_overconfidence(fitted: dict[str, Any]) -> None:
    assert len(fitted["temperatures"]) == 6
    assert fitted["temperatures"]["winner-cnn-0"] == pytest.approx(OVERCONFIDENCE, rel=0.15)


def test_losses_on_validation_are_those_before_and_after_calibration(
    fitted: dict[str, Any], validated: Validated
) -> None:
    def mixed(temperatures: dict[str, float]) -> np.ndarray:
        members = (
            weight * calibrated(validated.logits[name], temperatures[name])
            for name, weight in fitted["weights"].items()
        )
        return np.sum(list(members), axis=0)

    logits, temperatures = validated.logits["winner-cnn-0"], fitted["temperatures"]
    after = calibrated(np.log(mixed(temperatures)), fitted["ensemble_temperature"])
    expected = {
        "cnn": (calibrated(logits, 1), calibrated(logits, temperatures["winner-cnn-0"])),
        ENSEMBLE: (mixed(dict.fromkeys(temperatures, 1.0)), after),
    }
    for name, pair in expected.items():
        losses = [log_loss(validated.labels, probabilities) for probabilities in pair]
        assert list(fitted["validation"][name]["log_loss"].values()) == pytest.approx(losses)
        assert losses[1] < losses[0]
    reference = Reference(*(np.array(fitted["ood"][key]) for key in ("mean", "precision")))
    foreign = distance(reference, validated.features) > fitted["ood"]["max_distance"]
    assert fitted["abstention"][ENSEMBLE] == abstention(after, validated.labels, foreign)


def test_the_better_architecture_weighs_more_and_one_without_a_share_is_left_out(
    fitted: dict[str, Any],
) -> None:
    shares, weights = fitted["shares"], fitted["weights"]
    assert shares["cnn"] > shares["linear"] > 0
    assert shares["resnet18"] == 0
    assert weights == {
        f"winner-{arch}-{index}": shares[arch] / 2 for arch in ("linear", "cnn") for index in range(2)
    }
    assert sum(weights.values()) == pytest.approx(1)


@pytest.mark.parametrize(("n", "rejected"), [(IMAGES, 11), (60, 1), (30, 0)])
def test_at_most_two_percent_of_the_validation_images_are_rejected(
    validated: Validated, n: int, rejected: int
) -> None:
    few = replace(
        validated,
        labels=validated.labels[:n],
        logits={name: logits[:n] for name, logits in validated.logits.items()},
        features=validated.features[:n],
    )
    ood = fit_all(few, ARCHS)["ood"]
    reference = Reference(np.array(ood["mean"]), np.array(ood["precision"]))
    assert reference.mean == pytest.approx(validated.known_features.mean(0))
    assert (distance(reference, few.features) > ood["max_distance"]).sum() == rejected
    assert ood["false_rejections"] == rejected / n


def test_the_ensemble_is_the_calibrated_mean_of_calibrated_networks(
    test: Predictions, fitted: dict[str, Any], predicted: Any
) -> None:
    mixed = np.zeros((60, 4))
    for name, weight in fitted["weights"].items():
        mixed += weight * calibrated(np.log(test.probabilities[name]), fitted["temperatures"][name])
    assert predicted[ENSEMBLE][0] == pytest.approx(calibrated(np.log(mixed), fitted["ensemble_temperature"]))
    assert {name: len(probabilities) for name, probabilities in predicted.items()} == {
        **dict.fromkeys(ARCHS, 2),
        ENSEMBLE: 1,
    }


def test_scores_of_exported_models_over_groups_rejections_and_abstentions(
    test: Predictions, fitted: dict[str, Any], predicted: Any
) -> None:
    scores = {arch: {"official": {"n": 60}, "unseen": {"n": 54}} for arch in ARCHS}
    scored = add_scores(scores, test, fitted, predicted, CLASSES)
    assert scored.keys() == {*ARCHS, ENSEMBLE}
    parts = [
        (scored[ENSEMBLE][part]["n"], scored[ENSEMBLE][part]["groups"]) for part in ("official", "unseen")
    ]
    assert parts == [(60, 6), (54, 6)]
    foreign = np.arange(60) >= 50
    for name in scored:
        probabilities = predicted[name][0]
        confident = probabilities.max(1) >= fitted["abstention"][name]["min_confidence"]
        correct = probabilities.argmax(1) == test.labels
        for part, inside in (("official", np.ones(60, bool)), ("unseen", test.unseen)):
            found = scored[name][part]
            answered = confident & ~foreign & inside
            assert found["answered"]["n"] == answered.sum()
            assert found["answered"]["share"] == pytest.approx(answered.sum() / inside.sum())
            if answered.any():
                assert found["answered"]["accuracy"] == pytest.approx(correct[answered].mean())
            assert found["foreign"] == pytest.approx(foreign[inside].mean())
            labels = test.labels[inside]
            assert found["exported"] == pytest.approx(
                {
                    "accuracy": accuracy_score(labels, probabilities[inside].argmax(1)),
                    "f1": f1_score(labels, probabilities[inside].argmax(1), average="macro"),
                    "log_loss": log_loss(labels, probabilities[inside], labels=range(4)),
                }
            )
    # Neither all nor none, so that each condition has decided for some images.
    confident = predicted["cnn"][0].max(1) >= fitted["abstention"]["cnn"]["min_confidence"]
    assert 0 < (confident & foreign).sum() < confident.sum() < 60


def test_the_ensemble_is_compared_with_the_winner_that_is_best_on_validation(
    test: Predictions, predicted: Any
) -> None:
    # By the mean over seeds: the linear model has the best single one.
    validation = {"linear": [0.95, 0.1], "cnn": [0.9, 0.9], "resnet18": [0.2, 0.3]}
    compared, verdict = against_best(test, predicted, validation)
    assert compared["best_single"] == "cnn"
    for part, inside in (("official", np.ones(60, bool)), ("unseen", test.unseen)):
        labels = test.labels[inside]
        ours, theirs = (predicted[name][0][inside].argmax(1) for name in (ENSEMBLE, "cnn"))
        found = compared["parts"][part]
        assert found["only_a"] == ((ours == labels) & (theirs != labels)).sum()
        assert found["only_b"] == ((ours != labels) & (theirs == labels)).sum()
        gap = f1_score(labels, ours, average="macro") - f1_score(labels, theirs, average="macro")
        assert found["macro_f1"]["mean"] == pytest.approx(gap)
        assert found["macro_f1"]["low"] is not None
    assert verdict.startswith("ensemble: it ")
    assert " the best single winner on validation (cnn)" in verdict
    assert ", on 54 unseen images; " in verdict
    assert verdict.endswith(f", p = {compared['parts']['unseen']['p']:.2g}).")


def test_the_verdict_on_the_ensemble_names_the_better_of_the_two(test: Predictions) -> None:
    right = np.eye(4)[test.labels][None]
    wrong = np.roll(right, 1, axis=2)
    _, better = against_best(test, {ENSEMBLE: right, "cnn": wrong}, {"cnn": [0.5]})
    _, worse = against_best(test, {ENSEMBLE: wrong, "cnn": right}, {"cnn": [0.5]})
    best = "the best single winner on validation (cnn)"
    assert f"ensemble: it beat {best} by 100.0 points" in better
    # All six groups of related images speak for it, not 54 independent images.
    assert better.endswith(
        "; 54 only the ensemble gets right, 0 only cnn (of the groups of related images it is ahead in 6 and "
        "behind in 0: sign test, p = 0.031)."
    )
    assert f"ensemble: it fell behind {best} by 100.0 points" in worse
    assert "; 0 only the ensemble gets right, 54 only cnn (" in worse
    _, same = against_best(test, {ENSEMBLE: right, "cnn": right}, {"cnn": [0.5]})
    assert "gives every test image the same class as the best single winner (cnn)" in same


def test_the_ensembles_interval_resamples_groups_so_that_one_group_has_none(
    test: Predictions, predicted: Any
) -> None:
    together = predictions(test.labels, probabilities=test.probabilities, groups=np.zeros(60, np.int64))
    gap = against_best(together, predicted, {"cnn": [0.5]})[0]["parts"]["unseen"]["macro_f1"]
    assert (gap["low"], gap["high"]) == (None, None)
