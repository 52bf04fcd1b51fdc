"""The training stage: retrain a winner's configuration exactly as the search did."""

from pathlib import Path

import torch
from safetensors.torch import save

from tune_brain import runs
from tune_brain.bundle.schema import ABOUT
from tune_brain.config import RunConfig, check
from tune_brain.errors import DataError, Diverged, RunFolderError, SearchError
from tune_brain.files import replacing, writing_output
from tune_brain.layout import EPOCHS, LOG, RUN
from tune_brain.models import build, state_of
from tune_brain.progress import Progress
from tune_brain.records import EpochRow, append
from tune_brain.stages.common import check_digest, images, starting_weights
from tune_brain.train.fit import fit
from tune_brain.train.precision import slow_on_this_cpu
from tune_brain.train.process import make_ready
from tune_brain.train.training import begin


def train(file: Path, to: Path, *, data: Path | None = None, weights: str | None = None) -> Path:
    """Retrain a winner's configuration as in the search, with the same seed; write its rows and weights.

    Args:
        file: a winner's file, `winners/<arch>.toml` of a run or `configurations/<arch>.toml` of a bundle.
        to: folder for epochs.jsonl, which is replaced, weights.safetensors and run.log.
        data: the image folder, if not the one that the file names; a bundle's file names none.
        weights: the initial weights of resnet34, if not those that the file names.

    Returns:
        The folder.

    Raises:
        RunFolderError: the folder holds a run, or is a bundle or inside one.
        DataError: the images are not those of the search, or neither the file nor `data` says where they are.
        SearchError: the training diverged.
    """
    place = to.resolve()
    if any((folder / ABOUT).is_file() for folder in (place, *place.parents)):
        raise RunFolderError(
            "The target folder is a bundle or inside one, which may hold only what its manifest lists",
            found=str(to),
            remedy="Choose a folder elsewhere with --to.",
        )
    if (to / RUN).exists():
        raise RunFolderError(
            "The target folder holds a run, whose rows would be replaced",
            found=str(to),
            remedy="Choose another folder with --to.",
        )
    winner = runs.read_winner(file)
    training = winner.training
    progress = Progress()
    fields = {
        "data": data or winner.data,
        "out": to,
        "seed": winner.split_seed,
        "weights": weights or winner.weights,
    }
    config = check(
        RunConfig, {**fields, "arch": (training.arch,), "image_size": training.image_size}, str(file)
    )
    prepared = images(config, progress)
    if config.data is None and prepared.summary["cut_digest"] != winner.data_digest:
        raise DataError(
            f"{file} names no folder of images, and the built-in demo images are not those of its search",
            found=f"digest {prepared.summary['cut_digest'][:12]} instead of {winner.data_digest[:12]}",
            remedy="Name their folder with --data DIR; for demo images, restore the version of tune_brain.",
        )
    check_digest(prepared, winner.data_digest, str(file))
    start = starting_weights(config, progress)
    progress.log_to(to / LOG)
    make_ready()
    model = build(training, start.state if start else None)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and (slow := slow_on_this_cpu({training.arch: training.precision})):
        progress.say(slow)
    rows = to / EPOCHS
    rows.unlink(missing_ok=True)
    score = 0.0
    try:
        for row in fit(begin(model, training, prepared.development(), device)):
            append(rows, EpochRow(trial=winner.trial, arch=training.arch, **row))
            score = row["val_macro_f1"]
            progress.say(f"epoch {row['epoch']}/{training.epochs}: validation macro-F1 {score:.4f}")
    except Diverged as end:
        raise SearchError(
            "The training diverged",
            found=f"{file}: {end}",
            remedy="Lower its max_lr, or train it on the kind of machine that trained it before.",
        ) from None
    with writing_output(to), replacing(to / "weights.safetensors") as aside:
        aside.write_bytes(save(state_of(model)))
    same = "as in the search" if score == winner.score else f"in the search it was {winner.score:.4f}"
    progress.say(f"validation macro-F1 {score:.4f}, {same}")
    return to
