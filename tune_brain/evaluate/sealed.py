"""The sealed test: opened once, here and nowhere else, after the winners' seed runs are trained."""

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tune_brain import __version__, compute
from tune_brain.array_types import Bytes, Flags, Ints
from tune_brain.config import Frozen
from tune_brain.data.cache import cache_root
from tune_brain.data.prepare import Prepared
from tune_brain.errors import RunFolderError, SealedTestError
from tune_brain.evaluate.predictions import PREDICTIONS, Predictions, read_predictions, write_predictions
from tune_brain.evaluate.retrain import digests, predict_logits
from tune_brain.evaluate.seed_runs import SeedRun
from tune_brain.files import read_json, write_json
from tune_brain.layout import COMPARISONS, SCORES, SEAL
from tune_brain.portable.ood import features
from tune_brain.portable.probabilities import calibrated
from tune_brain.records import append, read
from tune_brain.slots import Slots

OPENINGS = "openings.jsonl"
"""The file of the cache that lists the openings of tests by runs on this machine."""


def check_seal(run: Path, planned: Sequence[SeedRun]) -> None:
    """Refuse a second opening of the test; an interrupted opening of the same seed runs may be repeated.

    Raises:
        SealedTestError: the test was opened for other seed runs, by name or by configuration.
        RunFolderError: there are results of the test, but no seal.
    """
    seal = run / SEAL
    if not seal.exists():
        if of_test := [name for name in (PREDICTIONS, SCORES, COMPARISONS) if (run / name).exists()]:
            raise RunFolderError(
                "Results of the test need the note of when it was opened, and for what",
                found=f"no {seal} beside {', '.join(of_test)}",
                remedy="Restore it from a copy of the run.",
            )
        return
    if read_json(seal)["for"] != _configurations(planned):
        raise SealedTestError(
            "The sealed test is opened only once",
            found=f"{seal} says that it was opened for other seed runs",
            remedy="With the same --seeds the existing scores are computed again. For other seed runs start\n"
            "a new run: a second look at the test would no longer be a first one.",
        )


def open_test(
    run: Path, prepared: Prepared, planned: Sequence[SeedRun], runs: Sequence[SeedRun], slots: Slots
) -> Predictions:
    """Open the test once: every seed run and the references (majority class, nearest neighbour) predict it.

    The predictions are stored in predictions.npz; from then on that file is read and the test stays closed.
    If the file is lost, the predictions are made again, which the seal records.

    Args:
        run: the run's folder.
        prepared: the data set.
        planned: all seed runs, as for `check_seal`.
        runs: those of them that finished.
        slots: how many predict at a time.
    """
    if (run / PREDICTIONS).exists():
        return _read(run)
    _note_opening(run, prepared, planned)
    folder = prepared.sealed
    pixels, labels, thumbnails, unseen, groups = (
        np.load(folder / f"{name}.npy") for name in ("pixels", "labels", "thumbnails", "unseen", "groups")
    )
    shared = compute.put(pixels)
    jobs = ((seed_run.training, seed_run.weights(run).read_bytes(), shared) for seed_run in runs)
    probabilities = {
        runs[index].name: calibrated(logits, 1.0)
        for index, logits in compute.each(predict_logits, jobs, slots.without_gpus())
    }
    train = prepared.development().train
    one_hot = np.eye(len(prepared.classes))
    majority = np.full(len(labels), np.bincount(train.labels).argmax())
    probabilities["majority"] = one_hot[majority]
    probabilities["nearest_neighbour"] = one_hot[train.labels[_nearest(train.thumbnails, thumbnails)]]
    predictions = Predictions(
        labels=labels,
        unseen=unseen,
        groups=groups,
        features=features(pixels),
        names=np.array(json.loads((folder / "names.json").read_text(encoding="utf-8")), dtype=str),
        probabilities=probabilities,
        weights=digests(run, runs),
    )
    write_predictions(run / PREDICTIONS, predictions)
    return predictions


def _note_opening(run: Path, prepared: Prepared, planned: Sequence[SeedRun]) -> None:
    """Write the seal of the run, or that it is opened again, and then this machine's record of openings."""
    opening = {"opened": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "by": f"tune_brain {__version__}"}
    if (run / SEAL).exists():
        # An interrupted opening still counts as the first.
        seal = read_json(run / SEAL)
        write_json(run / SEAL, {**seal, "again": [*seal.get("again", []), opening]})
    else:
        earlier = _earlier_openings(prepared.summary["test_digest"])
        seal = {**opening, "digest": prepared.summary["digest"], "earlier_openings": earlier}
        # Before the opening is recorded: if the seal cannot be written, the next attempt is still the first.
        write_json(run / SEAL, {**seal, "for": _configurations(planned)})
    _record_opening(prepared.summary["test_digest"], run, seal["opened"])


def _earlier_openings(digest: str) -> int | None:
    """How many openings of the test this machine's cache records; None if that cannot be read."""
    try:
        return sum(row.digest == digest for row in read(cache_root() / OPENINGS, Opening))
    except (RunFolderError, OSError):
        return None


def _record_opening(digest: str, run: Path, opened: str) -> None:
    """Record an opening in this machine's cache, once, if that can be read and written."""
    file, row = cache_root() / OPENINGS, Opening(digest=digest, run=run.resolve().name, opened=opened)
    with contextlib.suppress(RunFolderError, OSError):
        if row not in read(file, Opening):
            append(file, row)


def seed_runs_that_predicted(run: Path, runs: Sequence[SeedRun]) -> Sequence[SeedRun]:
    """The seed runs to score: all, or after the test was opened, those whose predictions are stored.

    A seed run that had diverged by then stays out, even if it finishes now, on another processor.

    Raises:
        SealedTestError: a seed run with stored predictions is missing or has other weights now.
    """
    if not (run / PREDICTIONS).exists():
        return runs
    stored = _read(run).weights
    current = digests(run, runs)
    changed = sorted(name for name in stored if current.get(name) != stored[name])
    if changed:
        raise SealedTestError(
            "The scored networks must be those whose test predictions are stored",
            found=f"{', '.join(changed)}: trained again, with different weights",
            remedy=f"Restore their weights from a copy of the run. If you delete {run / PREDICTIONS},\n"
            "the retrained networks predict the test instead, and all scores are theirs.",
        )
    return [seed_run for seed_run in runs if seed_run.name in stored]


def _configurations(planned: Sequence[SeedRun]) -> dict[str, dict[str, float]]:
    """The hyperparameters of each seed run, since another winner's seed runs get the same names."""
    return {seed_run.name: dict(seed_run.values) for seed_run in planned}


class Opening(Frozen):
    """One opening of a data set's test by a run, as recorded in the cache of a machine."""

    digest: str
    """Digest of the test images."""
    run: str
    """Name of the run's folder."""
    opened: str
    """Date and time, ISO 8601."""


class Test(NamedTuple):
    """The test images of a data set."""

    pixels: Bytes
    labels: Ints
    unseen: Flags


def scored_before(prepared: Prepared) -> Test:
    """The test images again, to verify a bundle that states its scores on them: nothing is chosen by them."""
    return Test(*(np.load(prepared.sealed / f"{name}.npy") for name in Test._fields))


def _nearest(train: Bytes, test: Bytes) -> Ints:
    """For each test thumbnail, the index of the nearest training thumbnail by squared pixel distance.

    Args:
        train: [N, 32, 32].
        test: [M, 32, 32].
    """
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=1, algorithm="brute")
    model.fit(train.reshape(len(train), -1).astype(np.float32))
    nearest: Ints = model.kneighbors(test.reshape(len(test), -1).astype(np.float32), return_distance=False)
    return nearest[:, 0]


def _read(run: Path) -> Predictions:
    try:
        return read_predictions(run / PREDICTIONS)
    except RunFolderError as error:
        raise SealedTestError(
            "The stored predictions for the sealed test must be readable, since they are made only once",
            found=error.found,
            remedy="Restore the file from a copy of the run, or start a new run.",
        ) from None
