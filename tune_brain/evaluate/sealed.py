"""The sealed test: opened here and nowhere else, once, after the winners and all their seed runs stand."""

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tune_brain import __version__, compute
from tune_brain.config import Frozen
from tune_brain.data.cache import cache_root
from tune_brain.data.prepare import Prepared
from tune_brain.errors import RunFolderError, SealedTestError
from tune_brain.evaluate.predictions import PREDICTIONS, Predictions, read_predictions, write_predictions
from tune_brain.evaluate.retrain import SeedRun, digests, logits
from tune_brain.portable.ood import features
from tune_brain.portable.probabilities import calibrated
from tune_brain.records import append, read, read_json, write_json
from tune_brain.slots import Slots

Ints = NDArray[np.int64]

SEAL = "sealed.json"
"""Says when and by what the test was opened; absent while it is sealed."""


def check_seal(run: Path, planned: Sequence[SeedRun]) -> None:
    """Refuse to go on towards a second opening; an opening cut short before it told anything may be repeated.

    Args:
        run: the run's folder.
        planned: the seed runs that are to be scored.

    Raises:
        SealedTestError: the test was opened for other seed runs than these, by name or by configuration.
    """
    seal = run / SEAL
    if not seal.exists():
        return
    if read_json(seal)["for"] != _configurations(planned):
        raise SealedTestError(
            "The sealed test is opened once",
            found=f"{seal} says that it was, for other seed runs",
            remedy="Without other --seeds the scores that stand are computed again; for others start a new\n"
            "run, since a second look at the test would no longer be a first one.",
        )


def open_test(
    run: Path, prepared: Prepared, planned: Sequence[SeedRun], runs: Sequence[SeedRun], slots: Slots
) -> Predictions:
    """Open the test once: every seed run, the majority class and the nearest neighbour predict it.

    The predictions are kept in predictions.npz; from then on that file is read and the test stays closed.
    Where the file is gone they are made again, which the seal records.

    Args:
        run: the run's folder.
        prepared: the data set.
        planned: all seed runs, as for `check_seal`.
        runs: those of them that ended well.
        slots: where they predict.
    """
    if (run / PREDICTIONS).exists():
        return _read(run)
    opening = {"opened": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "by": f"tune_brain {__version__}"}
    if (run / SEAL).exists():
        # An opening that broke off was the first all the same.
        seal = read_json(run / SEAL)
        write_json(run / SEAL, {**seal, "again": [*seal.get("again", []), opening]})
    else:
        before = _record_opening(prepared.summary["test_digest"], run, opening["opened"])
        seal = {**opening, "digest": prepared.summary["digest"], "earlier_openings": before}
        write_json(run / SEAL, {**seal, "for": _configurations(planned)})
    folder = prepared.sealed
    pixels, labels, thumbnails, unseen, groups = (
        np.load(folder / f"{name}.npy") for name in ("pixels", "labels", "thumbnails", "unseen", "groups")
    )
    shared = compute.put(pixels)
    jobs = ((one.training, one.weights(run).read_bytes(), shared) for one in runs)
    probabilities = {
        runs[index].name: calibrated(scores, 1.0)
        for index, scores in compute.each(logits, jobs, slots.without_gpus())
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


def _record_opening(digest: str, run: Path, opened: str) -> int | None:
    """Record the opening in this machine's cache; return how often other runs opened the same test before.

    None where the cache cannot be read.
    """
    path = cache_root() / "openings.jsonl"
    try:
        before = sum(row.digest == digest for row in read(path, Opening))
    except (RunFolderError, OSError):
        return None
    with contextlib.suppress(RunFolderError):
        append(path, Opening(digest=digest, run=run.resolve().name, opened=opened))
    return before


def seed_runs_that_predicted(run: Path, runs: Sequence[SeedRun]) -> Sequence[SeedRun]:
    """The seed runs to score: all, or once the test has been opened, those whose predictions are kept.

    A seed run that had diverged then, and on another processor now has not, stays left out.

    Args:
        run: the run's folder.
        runs: the seed runs that ended well.

    Raises:
        SealedTestError: one of them has diverged this time, or its weights differ from those that predicted.
    """
    if not (run / PREDICTIONS).exists():
        return runs
    before = _read(run).weights
    now = digests(run, runs)
    other = sorted(name for name in before if now.get(name) != before[name])
    if other:
        raise SealedTestError(
            "The scored networks must be those whose test predictions are kept",
            found=f"{', '.join(other)}: trained again, with different weights",
            remedy=f"Bring their weights back from a copy of the run. Without {run / PREDICTIONS}\n"
            "the retrained networks predict the test in their place, and all scores are theirs.",
        )
    return [one for one in runs if one.name in before]


def _configurations(planned: Sequence[SeedRun]) -> dict[str, dict[str, float]]:
    """The values of each configuration, by the name of its seed run: another winner may get the same name."""
    return {one.name: dict(one.values) for one in planned}


class Opening(Frozen):
    """That a run has opened the test of a data set, in the cache of a machine."""

    digest: str
    """The test images'."""
    run: str
    """The name of its folder."""
    opened: str
    """When."""


class Test(NamedTuple):
    """The test images of a data set."""

    pixels: NDArray[np.uint8]
    labels: Ints
    unseen: NDArray[np.bool_]


def scored_before(prepared: Prepared) -> Test:
    """The test images once more, for a bundle that carries its scores on them: nothing is chosen by them."""
    return Test(*(np.load(prepared.sealed / f"{name}.npy") for name in Test._fields))


def _nearest(known: NDArray[np.uint8], asked: NDArray[np.uint8]) -> Ints:
    """[len(asked)], the nearest known thumbnail [*, 32, 32] of each, by squared distance of raw pixels."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=1, algorithm="brute")
    model.fit(known.reshape(len(known), -1).astype(np.float32))
    found: Ints = model.kneighbors(asked.reshape(len(asked), -1).astype(np.float32), return_distance=False)
    return found[:, 0]


def _read(run: Path) -> Predictions:
    try:
        return read_predictions(run / PREDICTIONS)
    except RunFolderError as error:
        raise SealedTestError(
            "The predictions for the sealed test must be readable: they are made once",
            found=error.found,
            remedy="Bring the file back from a copy of the run, or start a new run.",
        ) from None
