"""The evaluation stage: retrain the winners with several seeds, open the sealed test once, score."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_brain import compute, lock, runs
from tune_brain.config import check_seeds
from tune_brain.errors import RunFolderError, SearchError
from tune_brain.evaluate.calibration import FEWEST_ANSWERS
from tune_brain.evaluate.ensemble import add_scores, against_best, calibrated_predictions, fit_all
from tune_brain.evaluate.predictions import PREDICTIONS
from tune_brain.evaluate.retrain import check_rows, plan, rows_of, train_all
from tune_brain.evaluate.scores import comparisons, marked, winner_scores
from tune_brain.evaluate.sealed import check_seal, open_test, seed_runs_that_predicted
from tune_brain.evaluate.validation import validate
from tune_brain.evaluate.winners import choose
from tune_brain.files import read_json, write_json
from tune_brain.layout import CALIBRATION, CHECKPOINTS, COMPARISONS, LOG, SCORES, SEAL
from tune_brain.progress import Progress
from tune_brain.records import by_arch, trials_of
from tune_brain.runs import Run, Winner
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
    chosen = runs.read_winners(run)
    check_search_has_ended(run)
    _check_chosen(run, chosen)
    planned = plan(run, chosen)
    check_seal(run.folder, planned)
    check_rows(run, planned)
    prepared = images(run.config, progress)
    start = starting_weights(run.config, progress)
    check_same(run, prepared, start)
    progress.log_to(run.folder / LOG)
    with compute.session(run.config) as ray:
        slots = ray.slots(gpus_of(run))
        if given:
            # Later commands, such as export, must use the same number of seeds.
            runs.create(run.config, run.spaces)
        state = start.state if start else None
        if not (folder / PREDICTIONS).exists():
            # Old scores must not remain beside networks that are retrained, as in a copy without predictions.
            for name in (SCORES, COMPARISONS):
                (folder / name).unlink(missing_ok=True)
        trained = train_all(run, planned, prepared.development(), state, slots, progress)
        seed_runs = seed_runs_that_predicted(run.folder, trained)
        validated = validate(run.folder, seed_runs, prepared.development(), slots)
        scored = [arch for arch in chosen if validated.of(arch)]
        if not scored:
            raise SearchError(
                "No seed run of any winner finished, so there is nothing to score",
                found=f"all of them diverged: {', '.join(chosen)}",
                remedy="The test stays sealed. Use more --seeds, or search lower learning rates.",
            )
        calibration = fit_all(validated, scored)
        write_json(run.folder / CALIBRATION, calibration)
        for name, found in calibration["abstention"].items():
            if found["errors"] is None:
                progress.say(
                    f"{name}: its bundle will be unsure of every image: on validation no confidence gives "
                    f"{FEWEST_ANSWERS} answers with at most {found['error_rate']:.0%} wrong"
                )
        stored = (folder / PREDICTIONS).exists()
        progress.say("scoring the stored predictions" if stored else "opening the sealed test")
        test = open_test(run.folder, prepared, planned, seed_runs, slots)
        # From here on the search can no longer be continued.
        shutil.rmtree(run.folder / CHECKPOINTS, ignore_errors=True)
        if before := read_json(run.folder / SEAL).get("earlier_openings"):
            progress.say(
                f"other runs on this machine opened the same test before ({before}), "
                "so these scores may be optimistic: choices may have been informed by it"
            )
    chosen = {arch: chosen[arch] for arch in scored}
    scores = winner_scores(test, scored, prepared.classes)
    predicted = calibrated_predictions(test, calibration, scored)
    scores = add_scores(scores, test, calibration, predicted, prepared.classes)
    comparison = comparisons(test, chosen, rows_of(run, seed_runs), prepared.classes)
    validation = {arch: comparison["validation"][arch]["winner"] for arch in scored}
    comparison["ensemble"] = against_best(test, predicted, validation)
    comparison["verdicts"]["ensemble"] = comparison["ensemble"].pop("verdict")
    leak = prepared.summary.get("allowed_leak", 0)
    write_json(run.folder / COMPARISONS, marked(comparison, leak))
    write_json(run.folder / SCORES, marked(scores, leak))
    for sentence in comparison["verdicts"].values():
        progress.say(sentence)
    return run.folder / SCORES


def _check_chosen(run: Run, winners: Mapping[str, Winner]) -> None:
    """Refuse winners other than those that the rows choose.

    They differ after a copy brought back older files, or an interruption between the writing of two winners.
    """
    for arch, rows in by_arch(trials_of(run.folder), run.config.arch).items():
        choice = choose(rows, run.config.epochs)
        winner = winners.get(arch)
        if (choice and choice.row.trial) != (winner and winner.trial):
            raise RunFolderError(
                "A winner does not match the trials of its run",
                found=f"{arch}: trial {winner.trial if winner else 'none'} in {run.folder / 'winners'}, "
                f"{choice.row.trial if choice else 'none'} by trials.jsonl",
                remedy=f"Choose the winners again with: tune-brain resume {quoted(run.folder)}"
                + (", which first searches for its time budget" if run.config.time_budget else ""),
            )
