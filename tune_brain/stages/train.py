"""The training stage: one configuration trained again as it was."""

from pathlib import Path

import torch
from safetensors.torch import save

from tune_brain import runs
from tune_brain.config import RunConfig, check
from tune_brain.data.destination import writing
from tune_brain.errors import Diverged, RunFolderError, SearchError
from tune_brain.models import build, state_of
from tune_brain.progress import Progress
from tune_brain.records import EpochRow, append, replacing
from tune_brain.stages.common import check_digest, images, starting_weights
from tune_brain.train.fit import fit
from tune_brain.train.process import make_ready
from tune_brain.train.training import begin


def train(file: Path, to: Path) -> Path:
    """Train a winner's configuration again as it was; write its rows and weights; returns the folder.

    Raises:
        RunFolderError: the folder holds a run.
        SearchError: the training diverged.
    """
    if (to / "run.toml").exists():
        raise RunFolderError(
            "A configuration is trained again into a folder of its own, whose rows it replaces",
            found=f"{to} holds a run",
            remedy="Name another with --to.",
        )
    winner = runs.read_winner(file)
    config = winner.training
    progress = Progress()
    fields = {"data": winner.data, "out": to, "seed": winner.split_seed, "weights": winner.weights}
    asked = check(RunConfig, {**fields, "arch": (config.arch,), "image_size": config.image_size}, str(file))
    prepared = images(asked, progress)
    check_digest(prepared, winner.data_digest, str(file))
    start = starting_weights(asked, progress)
    progress.log_to(to / "run.log")
    make_ready()
    model = build(config, start.state if start else None)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = to / "epochs.jsonl"
    rows.unlink(missing_ok=True)
    score = 0.0
    try:
        for row in fit(begin(model, config, prepared.development(), device)):
            append(rows, EpochRow(trial=winner.trial, arch=config.arch, **row))
            score = row["val_macro_f1"]
            progress.say(f"epoch {row['epoch']}/{config.epochs}: validation macro-F1 {score:.4f}")
    except Diverged as end:
        raise SearchError(
            "A configuration must come to the end of its training",
            found=f"{file}: {end}",
            remedy="Lower its max_lr, or train it where it was trained before.",
        ) from None
    with writing(to), replacing(to / "weights.safetensors") as aside:
        aside.write_bytes(save(state_of(model)))
    same = "as in the search" if score == winner.score else f"in the search it was {winner.score:.4f}"
    progress.say(f"validation macro-F1 {score:.4f}, {same}")
    return to
