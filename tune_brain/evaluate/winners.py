"""The choice of winners: one configuration for each architecture, by its scores on validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tune_brain import runs
from tune_brain.config import PRETRAINED, Precision
from tune_brain.data.prepare import Prepared
from tune_brain.errors import RunFolderError
from tune_brain.evaluate.shrinkage import shrunken_score
from tune_brain.files import read_json
from tune_brain.layout import RECORD
from tune_brain.progress import Progress
from tune_brain.records import TrialRow, by_arch, trials_of
from tune_brain.runs import Run, Winner
from tune_brain.text import counted, quoted


@dataclass(frozen=True)
class Choice:
    """A configuration chosen on validation."""

    row: TrialRow
    """The configuration's full-length trial on the ladder."""
    scores: tuple[float, ...]
    """Macro-F1 of that trial, then of its trials in the final round; a diverged one counts as 0."""


def choose(rows: Sequence[TrialRow], full_length: int) -> Choice | None:
    """The configuration with the best mean macro-F1 over its full-length trials; ties go to the earlier one.

    After a final round only the configurations with the most trials are eligible: the best of many single
    scores is biased upwards, a mean over seeds hardly. If the search ended when one configuration alone had
    the most trials, those with the next most are eligible, too, since its extra seeds compare with nothing.

    Args:
        rows: the latest row of each trial of a study.
        full_length: the top of the ladder, in epochs.
    """
    first = _first(rows, full_length)
    scores = full_scores(rows, full_length)
    if not first:
        return None
    fewest = sorted(map(len, scores.values()))[-2:][0]
    eligible = [number for number in first if len(scores[number]) >= fewest]
    best = max(eligible, key=lambda number: (fmean(scores[number]), -first[number].trial))
    return Choice(first[best], tuple(scores[best]))


def full_scores(rows: Sequence[TrialRow], full_length: int) -> dict[int, list[float]]:
    """By configuration, the scores of its full-length trials: on the ladder, then in the final round.

    A trial of the final round that diverged scores 0; one that failed otherwise is left out.

    Args:
        rows: the latest row of each trial of a study.
        full_length: the top of the ladder, in epochs.
    """
    first = _first(rows, full_length)
    scores = {number: [row.score or 0.0] for number, row in first.items()}
    for row in sorted(rows, key=lambda row: row.repeat):
        is_repeat = row.repeat and row.epochs == full_length and row.configuration in first
        if is_repeat and (row.score is not None or row.why == "diverged"):
            scores[row.configuration].append(row.score or 0.0)
    return scores


def converged_scores(rows: Sequence[TrialRow], full_length: int) -> dict[int, list[float]]:
    """`full_scores` without the trials that diverged: what `shrunken_score` estimates from.

    They count as 0 where configurations are compared, but are no sample of the noise between seeds: a single
    one would be taken for a very large noise in all scores.

    Args:
        rows: the latest row of each trial of a study.
        full_length: the top of the ladder, in epochs.
    """
    return full_scores([row for row in rows if row.score is not None], full_length)


def _first(rows: Sequence[TrialRow], full_length: int) -> dict[int, TrialRow]:
    """By configuration, its completed full-length trial on the ladder."""
    return {
        row.configuration: row
        for row in rows
        if row.epochs == full_length and not row.repeat and row.score is not None
    }


def fields_of(choice: Choice, run: Run, classes: int, precision: Precision) -> dict[str, Any]:
    """The fields of a `Winner` that follow from the rows.

    Args:
        choice: the configuration chosen for its architecture.
        run: the run.
        classes: the number of classes.
        precision: the precision in which the architecture was trained.
    """
    row = choice.row
    return {
        "configuration": row.configuration,
        "trial": row.trial,
        "score": choice.scores[0],
        "again": choice.scores[1:],
        "values": row.values,
        "training": run.spaces[row.arch].trial(
            row.values,
            epochs=row.epochs,
            image_size=run.config.image_size,
            classes=classes,
            seed=row.seed,
            precision=precision,
        ),
    }


def check_chosen(run: Run, winners: Mapping[str, Winner]) -> None:
    """Refuse winners other than those that the rows choose.

    They differ after an edit, after a copy brought back older files, or after an interruption between the
    writing of two winners.

    Raises:
        RunFolderError: they differ.
    """
    for arch, rows in by_arch(trials_of(run.folder), run.config.arch).items():
        _check(run, arch, winners.get(arch), choose(rows, run.config.full_length))


def check_intact(run: Run, winners: Mapping[str, Winner]) -> None:
    """Refuse winners other than the rows say of their configurations, because somebody has edited them.

    Which configuration won is not asked: another version's rule may have chosen it, and its scores on the
    test stand.

    Raises:
        RunFolderError: they differ.
    """
    full_length = run.config.full_length
    for arch, rows in by_arch(trials_of(run.folder), winners).items():
        first, number = _first(rows, full_length), winners[arch].configuration
        scores = full_scores(rows, full_length)
        choice = Choice(first[number], tuple(scores[number])) if number in first else None
        _check(run, arch, winners[arch], choice)


def _check(run: Run, arch: str, winner: Winner | None, choice: Choice | None) -> None:
    wrong = ["trial"] if (winner is None) != (choice is None) else []
    if winner and choice:
        record = read_json(run.folder / RECORD)
        fields = fields_of(choice, run, len(record["data"]["classes"]), record["precision"][arch])
        wrong = [name for name, value in fields.items() if getattr(winner, name) != value]
    if wrong:
        rows = f"trial {choice.row.trial} with {choice.row.values}" if choice else "none"
        file = runs.winner_file(run.folder, arch)
        raise RunFolderError(
            "A winner does not match the trials of its run",
            found=f"{file} differs in: {', '.join(wrong)}; in trials.jsonl: {rows}",
            remedy="Restore the file from a copy of the run, or choose the winners again with:\n"
            f"tune-brain resume {quoted(run.folder)}"
            + (
                "\nwhich first searches for its time budget, and only before seed runs have begun"
                if run.config.time_budget
                else ""
            ),
        )


def write_winners(
    run: Run,
    rows: Sequence[TrialRow],
    prepared: Prepared,
    precision: Mapping[str, Precision],
    progress: Progress,
) -> None:
    """Choose the winner of each architecture, write it to its file and report it.

    Args:
        run: the run.
        rows: the latest row of each trial of the run.
        prepared: the data set.
        precision: the precision in which each architecture was trained.
        progress: where winners are reported, and architectures that have none.
    """
    config = run.config
    for arch in config.arch:
        of_study = [row for row in rows if row.arch == arch]
        choice = choose(of_study, config.full_length)
        if choice is None:
            progress.say(f"{arch}: no full-length trial ended well, so it has no winner")
            continue
        best = choice.row
        winner = Winner(
            **fields_of(choice, run, len(prepared.classes), precision[arch]),
            data=config.data,
            data_digest=prepared.summary["cut_digest"],
            split_seed=config.seed,
            weights=config.weights if arch == PRETRAINED else "none",
        )
        path = runs.write_winner(run.folder, winner)
        scores = ", ".join(f"{score:.4f}" for score in choice.scores)
        name = f"configuration {best.configuration}" if best.configuration else "the untuned baseline"
        progress.say(f"{arch}: winner is {name}, {scores}: {path}")
        converged = converged_scores(of_study, config.full_length)
        if estimate := shrunken_score(converged, best.configuration):
            every = full_scores(of_study, config.full_length)
            diverged = sum(len(scores) - len(converged[number]) for number, scores in every.items())
            trials = counted(diverged, "trial of the final round that", "trials of the final round that")
            progress.say(
                f"{arch}: with other seeds it is expected to score {estimate.mean:.4f} on validation "
                f"[{estimate.low:.4f}, {estimate.high:.4f}]" + f", without {trials} diverged" * bool(diverged)
            )
