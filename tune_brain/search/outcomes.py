"""A table of outcomes: what the trials of ended searches scored, by configuration, length and seed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from tune_brain import runs
from tune_brain.errors import RunFolderError
from tune_brain.records import EpochRow, TrialRow, read, trials_of
from tune_brain.runs import Run
from tune_brain.search.ladder import cycle
from tune_brain.search.study import Study
from tune_brain.space import Space

Floats = NDArray[np.float64]
Key = tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """One study's configurations and what came of them; n of them, d tuned hyperparameters."""

    space: Space
    places: Floats
    """[n, d] in 0..1, where the space has them."""
    scores: dict[int, Floats]
    """By length in epochs: macro-F1 on validation, [n, seeds]; NaN where there was no such trial."""
    cycles: dict[int, int | None]
    """By length, of how many epochs the one-cycle is that its trials begin; None: they are all of one."""
    curves: Floats
    """[n, seeds, epochs]: macro-F1 after each epoch of the full-length trials; NaN where there was none."""
    seconds: float
    """Median seconds of an epoch."""

    @property
    def full_length(self) -> int:
        """The longest length, in epochs."""
        return max(self.scores)


def as_searched(outcomes: Outcomes) -> Outcomes:
    """The outcomes of trials as a search starts them today: lengths at which others were trained look anew.

    Where a trial would be the beginning of the full cycle and whole ones were trained, as older versions did,
    the full-length trials tell what their beginnings scored. Where so few came to full length that some
    configurations would be known at no length, all stay as they were trained.
    """
    wanted = {length: cycle(Study(), length, outcomes.full_length) for length in outcomes.scores}
    begun = {
        length: outcomes.curves[:, :, length - 1]
        for length, of in wanted.items()
        if of and outcomes.cycles[length] != of
    }
    cycles = {length: wanted[length] for length in begun}
    found = replace(outcomes, scores=outcomes.scores | begun, cycles=outcomes.cycles | cycles)
    known = np.any([np.isfinite(scores).any(axis=1) for scores in found.scores.values()], axis=0)
    return found if known.all() else outcomes


def place(space: Space, values: Mapping[str, float]) -> Floats:
    """Where values lie in the space, from 0 (low) to 1 (high), on a logarithmic scale where it has one."""
    return np.array([limits.share(values[name]) for name, limits in space.tuned.items()])


def searched(folders: Sequence[Path]) -> set[str]:
    """The architectures of which some trial has a score in one of these runs."""
    rows = (row for folder in folders for row in trials_of(folder))
    return {row.arch for row in rows if row.score is not None}


def read_outcomes(folders: Sequence[Path], arch: str) -> Outcomes:
    """The outcomes of one architecture in one or several runs of one space on the same images.

    Equal values are one configuration, whichever run trained them. A trial that diverged scores 0.

    Raises:
        RunFolderError: there is no such trial, or the runs do not belong together.
        ConfigError: a file of a run is damaged.
    """
    opened = [runs.open_run(folder) for folder in folders]
    spaces = [run.spaces[arch] for run in opened if arch in run.spaces]
    if not spaces or any(space != spaces[0].model_copy(update={"first": space.first}) for space in spaces):
        raise RunFolderError(
            "A replay takes runs of one space",
            found=f"{len(spaces)} different of {arch}" if spaces else f"none searched {arch}",
            remedy="Name runs of the same architecture and ranges.",
        )
    _check_same_images(opened)
    trials: dict[tuple[Key, int, int], TrialRow] = {}
    curves: dict[tuple[Key, int, int], list[float]] = {}
    paces: list[float] = []
    for run in opened:
        rows = [row for row in trials_of(run.folder) if row.arch == arch]
        for row in (row for row in rows if row.score is not None or row.why == "diverged"):
            # The same trial in two runs, as their baseline, is not two seeds.
            trials.setdefault((_key(row), row.epochs, row.seed), row)
        epochs: dict[int, list[EpochRow]] = {}
        for epoch in read(run.folder / "epochs.jsonl", EpochRow):
            epochs.setdefault(epoch.trial, []).append(epoch)
        for row in (row for row in rows if row.score is not None):
            curve = sorted(epochs.get(row.trial, ()), key=lambda epoch: epoch.epoch)
            paces += [epoch.seconds for epoch in curve]
            # A damaged line may have been taken out; the trial's own row has its score.
            if len(curve) == row.epochs:
                curves[(_key(row), row.epochs, row.seed)] = [epoch.val_macro_f1 for epoch in curve]
    if not paces:
        raise RunFolderError(
            "A replay needs trials that have ended well",
            found=f"none of {arch} in {', '.join(map(str, folders))}",
            remedy="Name a run with trials that ended well; `tune-brain status RUN` says how others ended.",
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
            "A replay takes runs of the same images, of one size and cut alike",
            found="; ".join(f"{folder}: {images}" for folder, images in known.items()),
            remedy="Name runs that searched the same data with the same --seed and --image-size.",
        )


def _outcomes(
    space: Space,
    trials: Sequence[TrialRow],
    curves: Mapping[tuple[Key, int, int], list[float]],
    seconds: float,
) -> Outcomes:
    found: dict[Key, dict[int, list[TrialRow]]] = {}
    for row in trials:
        found.setdefault(_key(row), {}).setdefault(row.epochs, []).append(row)
    lengths = sorted({row.epochs for row in trials})
    rows = {length: [of.get(length, []) for of in found.values()] for length in lengths}
    scores = {length: _table([[row.score or 0.0 for row in of] for of in rows[length]]) for length in lengths}
    full, unknown = lengths[-1], [math.nan] * lengths[-1]
    through = [[curves.get((_key(row), full, row.seed), unknown) for row in of] for of in rows[full]]
    most = max(map(len, through))
    return Outcomes(
        space=space,
        places=np.array([place(space, dict(key)) for key in found]),
        scores=scores,
        cycles={length: _cycle(length, trials) for length in lengths},
        curves=np.array([of + [unknown] * (most - len(of)) for of in through]),
        seconds=seconds,
    )


def _cycle(length: int, trials: Sequence[TrialRow]) -> int | None:
    kinds = {row.cycle for row in trials if row.epochs == length}
    if len(kinds) > 1:
        raise RunFolderError(
            "A replay takes trials that are alike at each length",
            found=f"trials of {length} epochs that are whole one-cycles, and others that begin one",
            remedy="Name runs of one version of tune_brain.",
        )
    return kinds.pop()


def _table(lists: Sequence[Sequence[float]]) -> Floats:
    table = np.full((len(lists), max(map(len, lists))), np.nan)
    for line, values in zip(table, lists, strict=True):
        line[: len(values)] = values
    return table


def _key(row: TrialRow) -> Key:
    return tuple(sorted(row.values.items()))
