"""Write the rows and the winner of a search without training."""

from typing import Any

from tune_brain.records import TrialRow, append, trials_of
from tune_brain.runs import Run, Winner, write_winner
from tune_brain.search.ladder import Train, next_step
from tune_brain.search.study import Study

ASKED: dict[str, Any] = {
    "arch": ("linear",),
    "configs": 3,
    "ladder": (1, 2),
    "precision": "fp32",
    "weights": "none",
}


def train(run: Run, most: int = 1000) -> None:
    """Add rows until the search is finished or the run has `most` trials; later configurations score more."""
    for arch in run.config.arch:
        while len(rows := trials_of(run.folder)) < most:
            study = Study(row for row in rows if row.arch == arch)
            step = next_step(study, run.config)
            if not isinstance(step, Train):
                break
            row = TrialRow(
                trial=len(rows),
                arch=arch,
                configuration=step.configuration,
                epochs=step.epochs,
                repeat=step.repeat,
                values={"max_lr": 0.001 + step.configuration / 1e4, "weight_decay": 0.01, "grad_clip": 1.0},
                seed=len(rows),
                state="completed",
                why="finished",
                score=0.5 + step.configuration / 100,
                started=0.0,
                seconds=60.0,
            )
            append(run.folder / "trials.jsonl", row)


def crown(run: Run, **given: Any) -> None:
    """Write a winner of the linear study, with the given fields of `Winner`."""
    linear = run.spaces["linear"]
    training = linear.trial(linear.baseline, epochs=2, image_size=16, classes=2, seed=0, precision="fp32")
    chosen = {"configuration": 3, "trial": 5, "score": 0.5, "values": {}, "data_digest": "", "split_seed": 0}
    write_winner(
        run.folder, Winner.model_validate({**chosen, "weights": "none", "training": training, **given})
    )
