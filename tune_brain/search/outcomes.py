"""A table of outcomes: the scores of past searches by configuration, trial length and seed, for replays."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from tune_brain import runs
from tune_brain.array_types import Floats
from tune_brain.errors import RunFolderError
from tune_brain.layout import EPOCHS
from tune_brain.records import EpochRow, TrialRow, read, trials_of
from tune_brain.runs import Run
from tune_brain.search.ladder import cycle
from tune_brain.space import Space

Key = tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The n configurations of one study, with d tuned hyperparameters, and their scores."""

    space: Space
    places: Floats
    """[n, d], positions of the configurations in the space, 0..1 on each axis."""
    scores: dict[int, Floats]
    """By length in epochs: macro-F1 on validation, [n, seeds]; NaN where no trial was run."""
    cycles: dict[int, int | None]
    """By length, the epochs of the one-cycle that its trials begin; None: they are complete cycles."""
    curves: Floats
    """[n, seeds, epochs]: macro-F1 after each epoch of the full-length trials; NaN where no trial was run."""
    seconds: float
    """Median seconds per epoch."""

    @property
    def full_length(self) -> int:
        """The longest length, in epochs."""
        return max(self.scores)


def as_searched(outcomes: Outcomes) -> Outcomes:
    """The outcomes as they would be with today's ladder, whose shortest trials begin the full-length cycle.

    Tables may hold complete short one-cycles at a length where a search now trains the beginning of the full
    cycle. Those scores are read off the curves of the full-length trials instead. If some configurations have
    no full-length trial and would be left without any score, everything stays as it was trained.
    """
    wanted = {length: cycle(length, outcomes.full_length) for length in outcomes.scores}
    begun = {
        length: outcomes.curves[:, :, length - 1]
        for length, of in wanted.items()
        if of and outcomes.cycles[length] != of
    }
    cycles = {length: wanted[length] for length in begun}
    changed = replace(outcomes, scores=outcomes.scores | begun, cycles=outcomes.cycles | cycles)
    known = np.any([np.isfinite(scores).any(axis=1) for scores in changed.scores.values()], axis=0)
    return changed if known.all() else outcomes


def place(space: Space, values: Mapping[str, float]) -> Floats:
    """The position of values in the space: 0 (low) to 1 (high) on each axis, logarithmic where it is."""
    return np.array([limits.share(values[name]) for name, limits in space.tuned.items()])


def searched(folders: Sequence[Path]) -> set[str]:
    """The architectures with at least one scored trial in these runs."""
    rows = (row for folder in folders for row in trials_of(folder))
    return {row.arch for row in rows if row.score is not None}


def read_outcomes(folders: Sequence[Path], arch: str) -> Outcomes:
    """The outcomes of one architecture, from one or several runs of the same space on the same images.

    Equal values are one configuration, whichever run trained them. Diverged trials score 0.

    Raises:
        RunFolderError: there is no scored trial, or the runs do not belong together.
        ConfigError: a file of a run is damaged.
    """
    opened = [runs.open_run(folder) for folder in folders]
    spaces = [run.spaces[arch] for run in opened if arch in run.spaces]
    if not spaces or any(space != spaces[0].model_copy(update={"first": space.first}) for space in spaces):
        raise RunFolderError(
            "All runs of a replay must have searched the same space",
            found=f"{len(spaces)} runs of {arch} with different spaces" if spaces else f"no run of {arch}",
            remedy="Name runs of the same architecture with the same ranges.",
        )
    _check_same_images(opened)
    trials: dict[tuple[Key, int, int], TrialRow] = {}
    curves: dict[tuple[Key, int, int], list[float]] = {}
    paces: list[float] = []
    for run in opened:
        rows = [row for row in trials_of(run.folder) if row.arch == arch]
        for row in (row for row in rows if row.score is not None or row.why == "diverged"):
            # The same trial in two runs, for example their baseline, is not two seeds.
            trials.setdefault((_key(row), row.epochs, row.seed), row)
        epochs: dict[int, list[EpochRow]] = {}
        for epoch in read(run.folder / EPOCHS, EpochRow):
            epochs.setdefault(epoch.trial, []).append(epoch)
        for row in (row for row in rows if row.score is not None):
            curve = sorted(epochs.get(row.trial, ()), key=lambda epoch: epoch.epoch)
            # Further seeds may have been trained with more threads.
            paces += [] if row.repeat else [epoch.seconds for epoch in curve]
            # Rows may be missing after a damaged line was removed; the score is in the trial's own row.
            if len(curve) == row.epochs:
                curves[(_key(row), row.epochs, row.seed)] = [epoch.val_macro_f1 for epoch in curve]
    if not paces:
        raise RunFolderError(
            "A replay needs completed trials",
            found=f"none of {arch} in {', '.join(map(str, folders))}",
            remedy="Name a run with completed trials; `tune-brain status RUN` says why others failed.",
        )
    return _outcomes(spaces[0], list(trials.values()), curves, median(paces))


def _check_same_images(opened: Sequence[Run]) -> None:
    known = {}
    for run in opened:
        if record := runs.read_record(run.folder):
            cut = record["data"]["cut_digest"]
            known[run.folder] = f"{cut[:8]} at {run.config.image_size} px"
    if len(set(known.values())) > 1:
        raise RunFolderError(
            "All runs of a replay must have the same images, image size and split",
            found="; ".join(f"{folder}: {images}" for folder, images in known.items()),
            remedy="Name runs that searched the same data with the same --seed and --image-size.",
        )


def _outcomes(
    space: Space,
    trials: Sequence[TrialRow],
    curves: Mapping[tuple[Key, int, int], list[float]],
    seconds: float,
) -> Outcomes:
    by_key: dict[Key, dict[int, list[TrialRow]]] = {}
    for row in trials:
        by_key.setdefault(_key(row), {}).setdefault(row.epochs, []).append(row)
    lengths = sorted({row.epochs for row in trials})
    rows = {length: [of.get(length, []) for of in by_key.values()] for length in lengths}
    scores = {length: _table([[row.score or 0.0 for row in of] for of in rows[length]]) for length in lengths}
    full, unknown = lengths[-1], [math.nan] * lengths[-1]
    through = [[curves.get((_key(row), full, row.seed), unknown) for row in of] for of in rows[full]]
    most = max(map(len, through))
    return Outcomes(
        space=space,
        places=np.array([place(space, dict(key)) for key in by_key]),
        scores=scores,
        cycles={length: _cycle(length, trials) for length in lengths},
        curves=np.array([of + [unknown] * (most - len(of)) for of in through]),
        seconds=seconds,
    )


def _cycle(length: int, trials: Sequence[TrialRow]) -> int | None:
    kinds = {row.cycle for row in trials if row.epochs == length}
    if len(kinds) > 1:
        raise RunFolderError(
            "All trials of a length must follow the same kind of cycle",
            found=f"trials of {length} epochs, some of them complete one-cycles and some beginnings",
            remedy="Name runs made with the same version of tune_brain.",
        )
    return kinds.pop()


def _table(lists: Sequence[Sequence[float]]) -> Floats:
    table = np.full((len(lists), max(map(len, lists))), np.nan)
    for line, values in zip(table, lists, strict=True):
        line[: len(values)] = values
    return table


def _key(row: TrialRow) -> Key:
    return tuple(sorted(row.values.items()))
