"""The road: the stages of a run, each from files to files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tune_brain import compute, runs, weights
from tune_brain.config import Precision, RunConfig
from tune_brain.data.cache import cache_root
from tune_brain.data.demo import write_demo
from tune_brain.data.prepare import Prepared, prepare
from tune_brain.errors import DataError, Interrupted, WeightsError
from tune_brain.evaluate import winners
from tune_brain.evaluate.retrain import plan, train_all
from tune_brain.evaluate.scores import comparisons, winner_scores
from tune_brain.evaluate.sealed import check_seal, open_test
from tune_brain.models import build, state_of
from tune_brain.progress import Progress
from tune_brain.records import EpochRow, SeedRow, TrialRow, append, latest, read, read_json, write_json
from tune_brain.runs import Run, Winner
from tune_brain.search.run import search as run_search
from tune_brain.search.sampler import write_journal
from tune_brain.train.fit import fit
from tune_brain.train.precision import choose

PRETRAINED = "resnet34"
"""The architecture that starts from given weights."""


def search(config: RunConfig) -> Path:
    """Make a new run and search its spaces; returns its folder, with rows and winners in it.

    Everything that can be refused is refused before the first trial: spaces, images, weights.
    """
    if config.data is None and PRETRAINED in config.arch:
        config = _reachable_weights(config)
    run = runs.create(config)
    return _search(run, Progress(run.folder / "run.log"))


def resume(folder: Path) -> Path:
    """Go on with a search where its rows end; returns the run's folder."""
    run = runs.open_run(folder)
    progress = Progress(run.folder / "run.log")
    progress.say(f"resuming {folder}")
    return _search(run, progress)


def _search(run: Run, progress: Progress) -> Path:
    config = run.config
    prepared = images(config, progress)
    record = run.folder / "record.json"
    if record.exists():
        _same_data(run, prepared)
    resolved = weights.resolve(config.weights) if PRETRAINED in config.arch else None
    started_from = resolved.origin if resolved else "random weights"
    if PRETRAINED in config.arch:
        progress.say(f"{PRETRAINED} starts from {started_from}")
    with _going_on(f"resume {run.folder}"), compute.session(config) as slots:
        precision = _precision(config, prepared)
        if not record.exists():
            origin = runs.origin()
            facts = {
                "data": prepared.summary,
                "weights": started_from,
                "precision": precision,
                "slots": slots.count,
            }
            write_json(record, {**origin, **facts})
        precision = read_json(record)["precision"]
        progress.say(f"{slots.count} trials at a time; precision {precision}")
        run_search(
            config,
            run.spaces,
            prepared.development(),
            resolved.state if resolved else None,
            precision,
            slots,
            progress,
        )
    _write_winners(run, prepared, precision, progress)
    return run.folder


def evaluate(folder: Path, seeds: int | None = None) -> Path:
    """Train each winner and baseline again with several seeds, open the sealed test once, write the scores.

    Returns:
        The path of scores.json.
    """
    run = runs.open_run(folder)
    if seeds is not None:
        run = Run(run.config.model_copy(update={"seeds": seeds}), run.spaces)
    progress = Progress(run.folder / "run.log")
    chosen = runs.read_winners(run)
    planned = plan(run, chosen)
    asked = [one.name for one in planned]
    check_seal(run.folder, asked)
    prepared = images(run.config, progress)
    _same_data(run, prepared)
    resolved = weights.resolve(run.config.weights) if PRETRAINED in chosen else None
    with _going_on(f"evaluate {folder}"), compute.session(run.config) as slots:
        state = resolved.state if resolved else None
        seed_runs = train_all(run, planned, prepared.development(), state, slots, progress)
        progress.say("opening the sealed test")
        opened = open_test(run.folder, prepared, asked, seed_runs, slots)
    chosen = {arch: winner for arch, winner in chosen.items() if len(opened.seed_runs("winner", arch))}
    scores = winner_scores(opened, list(chosen), prepared.classes)
    rows = read(run.folder / "seed_runs.jsonl", SeedRow)
    against = comparisons(opened, chosen, rows, prepared.classes)
    write_json(run.folder / "comparisons.json", against)
    write_json(run.folder / "scores.json", scores)
    for sentence in against["verdicts"].values():
        progress.say(sentence)
    return run.folder / "scores.json"


def train(file: Path, to: Path) -> Path:
    """Train a winner's configuration again as it was; write its rows and weights; returns the folder."""
    winner = runs.read_winner(file)
    config = winner.training
    progress = Progress(to / "run.log")
    asked = RunConfig(
        data=winner.data, out=to, image_size=config.image_size, seed=winner.split_seed, weights=winner.weights
    )
    prepared = images(asked, progress)
    _check_digest(prepared, winner.data_digest, str(file))
    resolved = weights.resolve(winner.weights) if config.arch == PRETRAINED else None
    # As in the search's workers: another number of threads adds in another order.
    torch.set_num_threads(1)
    model = build(config, resolved.state if resolved else None)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = to / "epochs.jsonl"
    rows.unlink(missing_ok=True)
    score = 0.0
    for row in fit(model, config, prepared.development(), device):
        append(rows, EpochRow(trial=winner.trial, arch=config.arch, **row))
        score = row["val_macro_f1"]
        progress.say(f"epoch {row['epoch']}/{config.epochs}: validation macro-F1 {score:.4f}")
    save_file(state_of(model), to / "weights.safetensors")
    same = "as in the search" if score == winner.score else f"in the search it was {winner.score:.4f}"
    progress.say(f"validation macro-F1 {score:.4f}, {same}")
    return to


def images(config: RunConfig, progress: Progress) -> Prepared:
    """Decode the images of a run, or read them back from the cache, and say what was found."""
    root = config.data
    if root is None:
        root = cache_root() / "demo-images"
        if not root.exists():
            write_demo(root)
    prepared = prepare(root, image_size=config.image_size, seed=config.seed)
    for line in _described(prepared.summary):
        progress.say(line)
    return prepared


def write_studies(folder: Path, journal: Path) -> Path:
    """Write the studies of a run as an Optuna journal, which optuna-dashboard opens; returns its path."""
    run = runs.open_run(folder)
    rows = latest(read(folder / "trials.jsonl", TrialRow))
    by_arch = {arch: [row for row in rows if row.arch == arch] for arch in run.config.arch}
    write_journal(journal, by_arch, run.spaces, run.config.epochs)
    return journal


def _described(summary: dict[str, Any]) -> Iterator[str]:
    """What was found in the image folder, in a few lines."""
    counts = {part: sum(by_class.values()) for part, by_class in summary["counts"].items()}
    official, unseen = sum(summary["official"].values()), sum(summary["unseen"].values())
    trained, validated = counts["train"], counts["validation"]
    yield f"{len(summary['classes'])} classes: {', '.join(summary['classes'])}"
    yield f"{trained} images to train, {validated} to validate, {official} to test, which are sealed"
    if unseen < official:
        yield f"{official - unseen} of the {official} test images have a twin outside it: {unseen} unseen"
    if summary["dropped"]:
        yield f"{summary['dropped']} training images left out, twins of validation images"
    for reason, left in summary["left_out"].items():
        more = ", ..." if left["n"] > len(left["names"]) else ""
        yield f"left out, {reason}: {left['n']} ({', '.join(left['names'])}{more})"


def _reachable_weights(config: RunConfig) -> RunConfig:
    """A demo goes on without pretrained weights where they cannot be had; `_search` says so aloud."""
    try:
        weights.resolve(config.weights)
    except WeightsError:
        return config.model_copy(update={"weights": "none"})
    return config


def _precision(config: RunConfig, prepared: Prepared) -> dict[str, Precision]:
    if config.precision != "auto":
        return dict.fromkeys(config.arch, config.precision)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {arch: choose(arch, config.image_size, len(prepared.classes), device) for arch in config.arch}


def _write_winners(run: Run, prepared: Prepared, precision: dict[str, Precision], progress: Progress) -> None:
    rows = latest(read(run.folder / "trials.jsonl", TrialRow))
    config = run.config
    for arch in config.arch:
        best = winners.choose([row for row in rows if row.arch == arch], config.epochs)
        if best is None or best.score is None:
            progress.say(f"{arch}: no full-length trial ended well, so it has no winner")
            continue
        training = run.spaces[arch].trial(
            best.values,
            epochs=best.epochs,
            image_size=config.image_size,
            classes=len(prepared.classes),
            seed=best.seed,
            precision=precision[arch],
        )
        winner = Winner(
            configuration=best.configuration,
            trial=best.trial,
            score=best.score,
            values=best.values,
            data=config.data,
            data_digest=prepared.summary["cut_digest"],
            split_seed=config.seed,
            weights=config.weights if arch == PRETRAINED else "none",
            training=training,
        )
        path = runs.write_winner(run.folder, winner)
        progress.say(f"{arch}: winner is configuration {best.configuration}, {best.score:.4f}: {path}")


def _same_data(run: Run, prepared: Prepared) -> None:
    known = read_json(run.folder / "record.json")["data"]["cut_digest"]
    _check_digest(prepared, known, str(run.folder))


def _check_digest(prepared: Prepared, known: str, what: str) -> None:
    found = prepared.summary["cut_digest"]
    if found != known:
        raise DataError(
            f"The images and their cut must be those that {what} was made with",
            found=f"digest {found[:12]} instead of {known[:12]}",
            remedy="Bring the folder and tune_brain back to what they were, or start a new run.",
        )


@contextmanager
def _going_on(command: str) -> Iterator[None]:
    """Say how to go on when a stage is interrupted."""
    try:
        yield
    except Interrupted:
        raise Interrupted(
            "Interrupted; what is finished is kept", remedy=f"Go on with: tune-brain {command}"
        ) from None
