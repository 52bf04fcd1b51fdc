"""The evaluation stage: winners trained again, the sealed test opened once, scores."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tune_brain import compute, lock, runs
from tune_brain.config import check_seeds
from tune_brain.errors import RunFolderError, SearchError
from tune_brain.evaluate.ensemble import add_scores, against_best, calibrated_test, fit_all
from tune_brain.evaluate.retrain import check_rows, plan, rows_of, train_all
from tune_brain.evaluate.scores import comparisons, marked, winner_scores
from tune_brain.evaluate.sealed import SEAL, SPOKEN, check_seal, open_test, those_that_spoke
from tune_brain.evaluate.validated import validate
from tune_brain.evaluate.winners import choose
from tune_brain.progress import Progress
from tune_brain.records import CHECKPOINTS, read_json, trials_of, write_json
from tune_brain.runs import Run, Winner
from tune_brain.stages.common import (
    AS_BEFORE,
    asked_of,
    check_same,
    going_on,
    going_on_as_asked,
    gpus_of,
    images,
    starting_weights,
)
from tune_brain.stages.standing import check_search_has_ended
from tune_brain.text import quoted


def evaluate(folder: Path, given: Mapping[str, Any] = AS_BEFORE) -> Path:
    """Train each winner and baseline again with several seeds, open the sealed test once, write the scores.

    Args:
        folder: the run.
        given: the fields of `RunConfig` to change: `seeds`, and those that say on which machines it trains.

    Returns:
        The path of scores.json.
    """
    # Before the lock, which is a file: this says what is wrong with a folder that is no run's.
    runs.open_run(folder)
    command = f"evaluate {quoted(folder)}"
    with lock.hold(folder), going_on_as_asked(folder, command) if given else going_on(command):
        return _evaluate(folder, given)


def _evaluate(folder: Path, given: Mapping[str, Any]) -> Path:
    run = asked_of(runs.open_run(folder), given)
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
    progress.log_to(run.folder / "run.log")
    with compute.session(run.config) as ray:
        slots = ray.slots(gpus_of(run))
        if given:
            # So that it goes on as it was asked, and is exported with as many seeds.
            runs.create(run.config, run.spaces)
        state = start.state if start else None
        if not (folder / SPOKEN).exists():
            # Of a copy that came without what was said: no score may stand beside networks trained anew.
            for name in ("scores.json", "comparisons.json"):
                (folder / name).unlink(missing_ok=True)
        trained = train_all(run, planned, prepared.development(), state, slots, progress)
        seed_runs = those_that_spoke(run.folder, trained)
        spoken = validate(run.folder, seed_runs, prepared.development(), slots)
        scored = [arch for arch in chosen if spoken.of(arch)]
        if not scored:
            raise SearchError(
                "The sealed test is opened for a winner with a seed run that ended well",
                found=f"all seed runs of the winners diverged: {', '.join(chosen)}",
                remedy="It stays sealed. Ask for more --seeds, or search a space of lower learning rates.",
            )
        fitted = fit_all(spoken, scored)
        write_json(run.folder / "calibration.json", fitted)
        progress.say("opening the sealed test")
        opened = open_test(run.folder, prepared, planned, seed_runs, slots)
        # The search cannot go on any more.
        shutil.rmtree(run.folder / CHECKPOINTS, ignore_errors=True)
        if before := read_json(run.folder / SEAL).get("looks_before"):
            progress.say(
                f"other runs on this machine had opened the same test before ({before}): "
                "what was learnt from it then flatters what is scored by it now"
            )
    chosen = {arch: chosen[arch] for arch in scored}
    scores = winner_scores(opened, scored, prepared.classes)
    said = calibrated_test(opened, fitted, scored)
    scores = add_scores(scores, opened, fitted, said, prepared.classes)
    against = comparisons(opened, chosen, rows_of(run, seed_runs), prepared.classes)
    validation = {arch: against["validation"][arch]["winner"] for arch in scored}
    against["ensemble"] = against_best(opened, said, validation)
    against["verdicts"]["ensemble"] = against["ensemble"].pop("verdict")
    leak = prepared.summary.get("allowed_leak", 0)
    write_json(run.folder / "comparisons.json", marked(against, leak))
    write_json(run.folder / "scores.json", marked(scores, leak))
    for sentence in against["verdicts"].values():
        progress.say(sentence)
    return run.folder / "scores.json"


def _check_chosen(run: Run, winners: Mapping[str, Winner]) -> None:
    """Refuse winners that the rows would not choose, as those of an older copy or of a stop between two."""
    rows = trials_of(run.folder)
    for arch in run.config.arch:
        choice = choose([row for row in rows if row.arch == arch], run.config.epochs)
        winner = winners.get(arch)
        if (choice and choice.row.trial) != (winner and winner.trial):
            raise RunFolderError(
                "Winners are chosen from the rows that stand beside them",
                found=f"{arch}: trial {winner.trial if winner else 'none'} in {run.folder / 'winners'}, "
                f"{choice.row.trial if choice else 'none'} by trials.jsonl",
                remedy=f"Have them chosen anew: tune-brain resume {quoted(run.folder)}"
                + (", which searches on for its time first" if run.config.time_budget else ""),
            )
