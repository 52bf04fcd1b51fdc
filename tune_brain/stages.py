"""The road: the stages of a run, each from files to files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file

from tune_brain import compute, runs, weights
from tune_brain.config import PRETRAINED, Precision, RunConfig
from tune_brain.data.cache import cache_root
from tune_brain.data.demo import write_demo
from tune_brain.data.describe import describe
from tune_brain.data.prepare import Prepared, prepare
from tune_brain.errors import DataError, Interrupted, WeightsError
from tune_brain.evaluate.retrain import plan, train_all
from tune_brain.evaluate.scores import comparisons, winner_scores
from tune_brain.evaluate.sealed import check_seal, open_test
from tune_brain.evaluate.winners import write_winners
from tune_brain.models import build, check_precision, state_of
from tune_brain.progress import Progress
from tune_brain.records import EpochRow, SeedRow, TrialRow, append, latest, read, read_json, write_json
from tune_brain.runs import Run
from tune_brain.search.run import search as run_search
from tune_brain.search.sampler import write_journal
from tune_brain.train.fit import fit
from tune_brain.train.precision import choose
from tune_brain.train.training import begin
from tune_brain.weights import ResolvedWeights

RANDOM = "random weights: its scores say nothing of a pretrained network"


def search(config: RunConfig) -> Path:
    """Make a new run and search its spaces; returns its folder, with rows and winners in it.

    Everything that can be refused is refused before there is a folder: spaces, images, weights.
    """
    progress = Progress()
    spaces = runs.spaces_for(config)
    for arch in config.arch:
        check_precision(arch, config.image_size, config.precision)
    prepared = images(config, progress)
    for line in describe(prepared.summary):
        progress.say(line)
    if config.data is None and PRETRAINED in config.arch and config.weights == "imagenet":
        config = _reachable_weights(config)
    start = _start(config, progress)
    run = runs.create(config, spaces)
    return _search(run, prepared, start, progress)


def resume(folder: Path) -> Path:
    """Go on with a search where its rows end; returns the run's folder."""
    run = runs.open_run(folder)
    progress = Progress()
    progress.say(f"resuming {folder}")
    prepared = images(run.config, progress)
    return _search(run, prepared, _start(run.config, progress), progress)


def _search(run: Run, prepared: Prepared, start: ResolvedWeights | None, progress: Progress) -> Path:
    config, record = run.config, run.folder / "record.json"
    progress.log_to(run.folder / "run.log")
    if record.exists():
        _same_cut(run, prepared)
    with _going_on(f"resume {run.folder}"), compute.session(config) as ray:
        slots = ray.slots()
        if not record.exists():
            made = {
                "data": prepared.summary,
                "weights": start.origin if start else "random weights",
                "precision": _precision(config, prepared),
                "slots": slots.count,
            }
            write_json(record, runs.origin() | made)
        precision = read_json(record)["precision"]
        told = ", ".join(f"{arch} in {chosen}" for arch, chosen in precision.items())
        progress.say(f"{slots.count} trials at a time; {told}")
        development, state = prepared.development(), start.state if start else None
        run_search(config, run.spaces, development, state, precision, slots, progress)
    rows = latest(read(run.folder / "trials.jsonl", TrialRow))
    write_winners(run, rows, prepared, precision, progress)
    return run.folder


def evaluate(folder: Path, seeds: int | None = None) -> Path:
    """Train each winner and baseline again with several seeds, open the sealed test once, write the scores.

    Returns:
        The path of scores.json.
    """
    run = runs.open_run(folder)
    if seeds is not None:
        run = Run(run.config.model_copy(update={"seeds": seeds}), run.spaces)
    progress = Progress()
    chosen = runs.read_winners(run)
    planned = plan(run, chosen)
    asked = [one.name for one in planned]
    check_seal(run.folder, asked)
    prepared = images(run.config, progress)
    _same_cut(run, prepared)
    start = _start(run.config, progress)
    progress.log_to(run.folder / "run.log")
    with _going_on(f"evaluate {folder}"), compute.session(run.config) as ray:
        slots = ray.slots()
        state = start.state if start else None
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
    progress = Progress()
    asked = RunConfig(
        data=winner.data,
        out=to,
        arch=(config.arch,),
        image_size=config.image_size,
        seed=winner.split_seed,
        weights=winner.weights,
    )
    prepared = images(asked, progress)
    _check_digest(prepared, winner.data_digest, str(file))
    start = _start(asked, progress)
    progress.log_to(to / "run.log")
    # As in the search's workers: another number of threads adds in another order.
    torch.set_num_threads(1)
    model = build(config, start.state if start else None)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = to / "epochs.jsonl"
    rows.unlink(missing_ok=True)
    score = 0.0
    for row in fit(begin(model, config, prepared.development(), device)):
        append(rows, EpochRow(trial=winner.trial, arch=config.arch, **row))
        score = row["val_macro_f1"]
        progress.say(f"epoch {row['epoch']}/{config.epochs}: validation macro-F1 {score:.4f}")
    save_file(state_of(model), to / "weights.safetensors")
    same = "as in the search" if score == winner.score else f"in the search it was {winner.score:.4f}"
    progress.say(f"validation macro-F1 {score:.4f}, {same}")
    return to


def images(config: RunConfig, progress: Progress) -> Prepared:
    """Decode the images of a run, or read them back from the cache."""
    root = config.data
    if root is None:
        root = cache_root() / "demo-images"
        if not root.exists():
            write_demo(root)
    with progress.bar("decoding images") as advance:
        return prepare(root, image_size=config.image_size, seed=config.seed, progress=advance)


def write_studies(folder: Path, journal: Path) -> Path:
    """Write the studies of a run as an Optuna journal, which optuna-dashboard opens; returns its path."""
    run = runs.open_run(folder)
    rows = latest(read(folder / "trials.jsonl", TrialRow))
    by_arch = {arch: [row for row in rows if row.arch == arch] for arch in run.config.arch}
    write_journal(journal, by_arch, run.spaces, run.config.epochs)
    return journal


def _reachable_weights(config: RunConfig) -> RunConfig:
    """A demo goes on without pretrained weights where they cannot be had; `_search` says so aloud."""
    try:
        weights.resolve(config.weights)
    except WeightsError:
        return config.model_copy(update={"weights": "none"})
    return config


def _start(config: RunConfig, progress: Progress) -> ResolvedWeights | None:
    """The weights that the pretrained architecture starts from, said aloud; None for random ones."""
    if PRETRAINED not in config.arch:
        return None
    resolved = weights.resolve(config.weights)
    progress.say(f"{PRETRAINED} starts from {resolved.origin if resolved else RANDOM}")
    return resolved


def _precision(config: RunConfig, prepared: Prepared) -> dict[str, Precision]:
    if config.precision != "auto":
        return dict.fromkeys(config.arch, config.precision)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {arch: choose(arch, config.image_size, len(prepared.classes), device) for arch in config.arch}


def _same_cut(run: Run, prepared: Prepared) -> None:
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
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(
            "Interrupted; what is finished is kept", remedy=f"Go on with: tune-brain {command}"
        ) from None
