"""The evaluation stage: retrain the winners with several seeds, open the sealed test once, score."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_brain import compute, lock, runs
from tune_brain.config import check_seeds
from tune_brain.data.prepare import Prepared
from tune_brain.errors import SearchError
from tune_brain.evaluate.calibration import FEWEST_ANSWERS
from tune_brain.evaluate.ensemble import ENSEMBLE, add_scores, against_best, calibrated_predictions, fit_all
from tune_brain.evaluate.predictions import PREDICTIONS, Predictions
from tune_brain.evaluate.retrain import train_all
from tune_brain.evaluate.scores import comparisons, marked, winner_scores
from tune_brain.evaluate.sealed import check_seal, open_test, seed_runs_that_predicted
from tune_brain.evaluate.seed_runs import SeedRun, check_rows, plan, rows_of
from tune_brain.evaluate.validation import Validated, validate
from tune_brain.evaluate.winners import check_chosen
from tune_brain.files import read_json, write_json
from tune_brain.layout import CALIBRATION, CHECKPOINTS, COMPARISONS, LOG, SCORES, SEAL
from tune_brain.progress import Progress
from tune_brain.records import SeedRow
from tune_brain.runs import Run, Winner
from tune_brain.slots import Slots
from tune_brain.stages.common import (
    UNCHANGED,
    check_same,
    gpus_of,
    images,
    rerun_hint,
    resume_hint,
    starting_weights,
    with_options,
)
from tune_brain.stages.preconditions import check_search_has_ended
from tune_brain.text import quoted

if TYPE_CHECKING:
    from tune_brain.weights import ResolvedWeights


def evaluate(folder: Path, given: Mapping[str, Any] = UNCHANGED) -> Path:
    """Retrain each winner and baseline with several seeds, open the sealed test once, write the scores.

    Args:
        folder: the run.
        given: the fields of `RunConfig` to change: `seeds`, and those that choose the machines.

    Returns:
        The path of scores.json.
    """
    # Before the lock, which creates a file: a folder without a run is refused and stays as it is.
    runs.open_run(folder)
    command = f"evaluate {quoted(folder)}"
    with lock.hold(folder, lock.EVALUATE), rerun_hint(folder, command) if given else resume_hint(command):
        return _evaluate(folder, given)


def _evaluate(folder: Path, given: Mapping[str, Any]) -> Path:
    run = with_options(runs.open_run(folder), given)
    if not (folder / SEAL).exists():
        check_seeds(run.config)
    progress = Progress()
    chosen, planned = _planned(run)
    prepared, start = _inputs(run, progress)
    progress.log_to(folder / LOG)
    with compute.session(run.config) as ray:
        slots = ray.slots(gpus_of(run))
        if given:
            # Later commands, such as export, must use the same number of seeds.
            runs.create(run.config, run.spaces)
        seed_runs = _trained(run, planned, prepared, start, slots, progress)
        validated = validate(folder, seed_runs, prepared.development(), slots)
        scored = _finished(chosen, validated)
        calibration = _calibrated(folder, validated, scored, progress)
        test = _opened(folder, prepared, planned, seed_runs, slots, progress)
    scores, comparison = _scored(test, chosen, scored, calibration, rows_of(run, seed_runs), prepared.classes)
    leak = prepared.summary.get("allowed_leak", 0)
    write_json(folder / COMPARISONS, marked(comparison, leak))
    write_json(folder / SCORES, marked(scores, leak))
    for sentence in comparison["verdicts"].values():
        progress.say(sentence)
    return folder / SCORES


def _planned(run: Run) -> tuple[dict[str, Winner], list[SeedRun]]:
    """The winners and their seed runs; refused unless they agree with the rows, the seal and earlier ones."""
    chosen = runs.read_winners(run)
    check_search_has_ended(run)
    check_chosen(run, chosen)
    planned = plan(run, chosen)
    check_seal(run.folder, planned)
    check_rows(run, planned)
    return chosen, planned


def _inputs(run: Run, progress: Progress) -> "tuple[Prepared, ResolvedWeights | None]":
    """The images and initial weights; refused unless they are those of the search."""
    prepared = images(run.config, progress)
    start = starting_weights(run.config, progress)
    check_same(run, prepared, start)
    return prepared, start


def _trained(
    run: Run,
    planned: Sequence[SeedRun],
    prepared: Prepared,
    start: "ResolvedWeights | None",
    slots: Slots,
    progress: Progress,
) -> Sequence[SeedRun]:
    """Train the seed runs that are missing; returns those to score."""
    if not (run.folder / PREDICTIONS).exists():
        # Old scores must not remain beside networks that are retrained, as in a copy without predictions.
        for name in (SCORES, COMPARISONS):
            (run.folder / name).unlink(missing_ok=True)
    state = start.state if start else None
    trained = train_all(run, planned, prepared.development(), state, slots, progress)
    return seed_runs_that_predicted(run.folder, trained)


def _finished(chosen: Mapping[str, Winner], validated: Validated) -> list[str]:
    """The architectures whose winners have a seed run that finished; refused if there are none."""
    if finished := [arch for arch in chosen if validated.of(arch)]:
        return finished
    raise SearchError(
        "No seed run of any winner finished, so there is nothing to score",
        found=f"all of them diverged: {', '.join(chosen)}",
        remedy="Nothing is scored. Use more --seeds, or search lower learning rates.",
    )


def _calibrated(
    folder: Path, validated: Validated, scored: Sequence[str], progress: Progress
) -> dict[str, Any]:
    """Fit on validation, and write, what must be settled before the test is opened."""
    calibration = fit_all(validated, scored)
    write_json(folder / CALIBRATION, calibration)
    for name, found in calibration["abstention"].items():
        if found["errors"] is None:
            progress.say(
                f"{name}: its bundle will be unsure of every image: on validation no confidence gives "
                f"{FEWEST_ANSWERS} answers with at most {found['error_rate']:.0%} wrong"
            )
    return calibration


def _opened(
    folder: Path,
    prepared: Prepared,
    planned: Sequence[SeedRun],
    seed_runs: Sequence[SeedRun],
    slots: Slots,
    progress: Progress,
) -> Predictions:
    """Open the test, the one step that cannot be undone, or read what it gave."""
    stored = (folder / PREDICTIONS).exists()
    progress.say("scoring the stored predictions" if stored else "opening the sealed test")
    test = open_test(folder, prepared, planned, seed_runs, slots)
    # From here on the search can no longer be continued.
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    if before := read_json(folder / SEAL).get("earlier_openings"):
        progress.say(
            f"other runs on this machine opened the same test before ({before}), "
            "so these scores may be optimistic: choices may have been informed by it"
        )
    return test


def _scored(
    test: Predictions,
    chosen: Mapping[str, Winner],
    scored: Sequence[str],
    calibration: Mapping[str, Any],
    rows: Sequence[SeedRow],
    classes: Sequence[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contents of scores.json and comparisons.json, with a verdict on each winner and the ensemble."""
    scores = winner_scores(test, scored, classes)
    predicted = calibrated_predictions(test, calibration, scored)
    scores = add_scores(scores, test, calibration, predicted, classes)
    comparison = comparisons(test, {arch: chosen[arch] for arch in scored}, rows, classes)
    verdicts = comparison["verdicts"]
    for arch in chosen:
        if arch not in scored:
            verdicts[arch] = (
                f"{arch}: all seed runs of its winner diverged, so it has no test score and is not exported."
            )
    validation = {arch: comparison["validation"][arch]["winner"] for arch in scored}
    comparison["ensemble"], verdicts[ENSEMBLE] = against_best(test, predicted, validation)
    return scores, comparison
