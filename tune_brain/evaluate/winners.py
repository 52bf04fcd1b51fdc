"""Winners: from the rows of a search to one configuration for each architecture, chosen on validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tune_brain import runs
from tune_brain.config import PRETRAINED, Precision
from tune_brain.data.prepare import Prepared
from tune_brain.evaluate.shrinkage import expected
from tune_brain.progress import Progress
from tune_brain.records import TrialRow
from tune_brain.runs import Run, Winner


@dataclass(frozen=True)
class Choice:
    """A configuration chosen on validation."""

    row: TrialRow
    """Its full-length trial on the ladder."""
    scores: tuple[float, ...]
    """Macro-F1 of that trial, then of those of the final round; a diverged one counts as 0."""


def choose(rows: Sequence[TrialRow], full_length: int) -> Choice | None:
    """The configuration with the best mean macro-F1 of its full-length trials, of equals the earlier.

    After a final round only those with the most trials stand for choice: a single score that is the best of
    many flatters, a mean over seeds hardly. Where the search ended before two had as many, so do those with
    the next most: the further seeds of one alone are no comparison.

    Args:
        rows: the latest row of each trial of a study.
        full_length: the top of the ladder, in epochs.
    """
    first = _first(rows, full_length)
    scores = full_scores(rows, full_length)
    if not first:
        return None
    enough = sorted(map(len, scores.values()))[-2:][0]
    standing = [number for number in first if len(scores[number]) >= enough]
    best = max(standing, key=lambda number: (fmean(scores[number]), -first[number].trial))
    return Choice(first[best], tuple(scores[best]))


def full_scores(rows: Sequence[TrialRow], full_length: int) -> dict[int, list[float]]:
    """The full-length scores of each configuration, the ladder's first; one that diverged after it is 0."""
    first = _first(rows, full_length)
    scores = {number: [row.score or 0.0] for number, row in first.items()}
    for row in sorted(rows, key=lambda row: row.repeat):
        again = row.repeat and row.epochs == full_length and row.configuration in first
        if again and (row.score is not None or row.why == "diverged"):
            scores[row.configuration].append(row.score or 0.0)
    return scores


def _first(rows: Sequence[TrialRow], full_length: int) -> dict[int, TrialRow]:
    return {
        row.configuration: row
        for row in rows
        if row.epochs == full_length and not row.repeat and row.score is not None
    }


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
        own = [row for row in rows if row.arch == arch]
        chosen = choose(own, config.epochs)
        if chosen is None:
            progress.say(f"{arch}: no full-length trial ended well, so it has no winner")
            continue
        best = chosen.row
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
            score=chosen.scores[0],
            again=chosen.scores[1:],
            values=best.values,
            data=config.data,
            data_digest=prepared.summary["cut_digest"],
            split_seed=config.seed,
            weights=config.weights if arch == PRETRAINED else "none",
            training=training,
        )
        path = runs.write_winner(run.folder, winner)
        told = ", ".join(f"{score:.4f}" for score in chosen.scores)
        progress.say(f"{arch}: winner is configuration {best.configuration}, {told}: {path}")
        if found := expected(full_scores(own, config.epochs), best.configuration):
            progress.say(
                f"{arch}: with other seeds it is expected to score {found.mean:.4f} on validation "
                f"[{found.low:.4f}, {found.high:.4f}]"
            )
