"""Winners: from the rows of a search to one configuration for each architecture, chosen on validation."""

from collections.abc import Mapping, Sequence

from tune_brain import runs
from tune_brain.config import PRETRAINED, Precision
from tune_brain.data.prepare import Prepared
from tune_brain.progress import Progress
from tune_brain.records import TrialRow
from tune_brain.runs import Run, Winner


def choose(rows: Sequence[TrialRow], full_length: int) -> TrialRow | None:
    """The full-length trial with the best macro-F1 on validation, the earlier of two equals; or None."""
    scored = [row for row in rows if row.epochs == full_length and row.score is not None]
    return max(scored, key=lambda row: (row.score, -row.trial), default=None)


def write_winners(
    run: Run,
    rows: Sequence[TrialRow],
    prepared: Prepared,
    precision: Mapping[str, Precision],
    progress: Progress,
) -> None:
    """Write the winner of each architecture that has one to its file, and say so."""
    config = run.config
    for arch in config.arch:
        best = choose([row for row in rows if row.arch == arch], config.epochs)
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
