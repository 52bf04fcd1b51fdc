"""The sealed test: opened here and nowhere else, once, after the winners and all their seed runs stand."""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tune_brain import __version__, compute
from tune_brain.config import Frozen
from tune_brain.data.cache import cache_root
from tune_brain.data.prepare import Prepared
from tune_brain.errors import RunFolderError, SealedTestError
from tune_brain.evaluate.retrain import SeedRun, digests, logits
from tune_brain.portable.looks import measures
from tune_brain.portable.probabilities import calibrated
from tune_brain.records import (
    DAMAGED,
    Role,
    SeedRow,
    append,
    named,
    read,
    read_json,
    replacing,
    seeds_of,
    write_json,
    writing,
)
from tune_brain.slots import Slots

Ints = NDArray[np.int64]

SPOKEN = "predictions.npz"
"""What was said of the test, in a run's folder."""
SEAL = "sealed.json"
"""Says when and by what the test was opened; absent while it is sealed."""
BESIDE = ("labels", "unseen", "groups", "looks")
"""What is kept of each test image beside what the models said."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What the sealed test holds beside its pixels, and what each model said of it."""

    labels: Ints
    """[N], true classes."""
    unseen: NDArray[np.bool_]
    """[N], False where a training image is a twin."""
    groups: Ints
    """[N], images of one group share a number."""
    looks: NDArray[np.float64]
    """[N, F], measures of the images, see `tune_brain.portable.looks`."""
    probabilities: dict[str, NDArray[np.float64]]
    """[N, C] by the name of a seed run, and one-hot for `majority` and `nearest_neighbour`."""

    def part(self, part: str) -> NDArray[np.bool_]:
        """[N], which images count in a part: official, all of them, or unseen."""
        return self.unseen | (part == "official")

    @property
    def telling(self) -> str:
        """The part that tells most: unseen, if it has an image."""
        return "unseen" if self.unseen.any() else "official"

    def seed_runs(self, role: Role, arch: str) -> NDArray[np.float64]:
        """[S, N, C], what the seed runs of one configuration said; S is 0 where there are none."""
        return np.array([self.probabilities[name] for name in seeds_of(self.probabilities, role, arch)])


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
    known, asked = read_json(seal)["for"], _spoken_for(planned)
    if isinstance(known, list):
        # Older seals hold names alone. What was trained under them stands in the rows.
        rows = {one.name: one.values for one in read(run / "seed_runs.jsonl", SeedRow)}
        known = {name: rows.get(name, asked.get(name)) for name in known}
    if known != asked:
        raise SealedTestError(
            "The sealed test is opened once",
            found=f"{seal} says that it was, for other seed runs",
            remedy="Without other --seeds the scores that stand are computed again; for others start a new\n"
            "run, since a second look at the test would no longer be a first one.",
        )


def open_test(
    run: Path, prepared: Prepared, planned: Sequence[SeedRun], runs: Sequence[SeedRun], slots: Slots
) -> Opened:
    """Open the test once and let every seed run, the majority class and the nearest neighbour speak on it.

    What they said is kept in predictions.npz; from then on that file is read and the test stays closed. Where
    it is gone they speak again, which the seal keeps on record.

    Args:
        run: the run's folder.
        prepared: the data set.
        planned: all seed runs, as for `check_seal`.
        runs: those of them that ended well.
        slots: where they predict.
    """
    kept = run / SPOKEN
    if kept.exists():
        try:
            return _read(kept)
        except DAMAGED as error:
            raise _unreadable(kept, error) from None
    opening = {"opened": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "by": f"tune_brain {__version__}"}
    if (run / SEAL).exists():
        # An opening that broke off was the first all the same.
        seal = read_json(run / SEAL)
        write_json(run / SEAL, {**seal, "again": [*seal.get("again", []), opening]})
    else:
        before = _looks_before(prepared.summary["test_digest"], run, opening["opened"])
        seal = {**opening, "digest": prepared.summary["digest"], "looks_before": before}
        write_json(run / SEAL, {**seal, "for": _spoken_for(planned)})
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
    opened = Opened(
        labels=labels, unseen=unseen, groups=groups, looks=measures(pixels), probabilities=probabilities
    )
    _write(kept, opened, json.loads((folder / "names.json").read_text(encoding="utf-8")), digests(run, runs))
    return opened


def _looks_before(digest: str, run: Path, opened: str) -> int | None:
    """How many other runs on this machine have opened the same test; this one counts for those to come.

    None where the cache, in which they are noted, cannot be read.
    """
    path = cache_root() / "openings.jsonl"
    try:
        before = sum(row.digest == digest for row in read(path, Opening))
    except (RunFolderError, OSError):
        return None
    with contextlib.suppress(RunFolderError):
        append(path, Opening(digest=digest, run=run.resolve().name, opened=opened))
    return before


def those_that_spoke(run: Path, runs: Sequence[SeedRun]) -> Sequence[SeedRun]:
    """The seed runs to score: all, and of a test that has been opened those that spoke on it then.

    One that had diverged and now, on another processor, has not is left out as it was.

    Args:
        run: the run's folder.
        runs: the seed runs that ended well.

    Raises:
        SealedTestError: one that spoke has diverged, or has come out otherwise: others said what is scored.
    """
    kept = run / SPOKEN
    if not kept.exists():
        return runs
    try:
        with np.load(kept, allow_pickle=False) as file:
            before = {name: str(file[f"weights/{name}"]) for name in named(file.files, "weights")}
    except DAMAGED as error:
        raise _unreadable(kept, error) from None
    # Older files name no weights.
    if not before:
        return runs
    now = digests(run, runs)
    other = sorted(name for name in before if now.get(name) != before[name])
    if other:
        raise SealedTestError(
            "The networks that are scored are those that spoke on the sealed test",
            found=f"{', '.join(other)}: trained again, they have come out otherwise",
            remedy=f"Bring their weights back from a copy of the run. Without {kept}\n"
            "these networks speak in their place, and all scores are theirs.",
        )
    return [one for one in runs if one.name in before]


def _spoken_for(planned: Sequence[SeedRun]) -> dict[str, dict[str, float]]:
    """The values of each configuration by the name of its seed run: names alone outlive their winners."""
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


def _write(path: Path, opened: Opened, names: Sequence[str], digests: Mapping[str, str]) -> None:
    spoken: dict[str, Any] = {f"probabilities/{name}": array for name, array in opened.probabilities.items()}
    spoken |= {f"weights/{name}": np.array(digest) for name, digest in digests.items()}
    beside = {name: getattr(opened, name) for name in BESIDE} | {"names": np.array(names, dtype=str)}
    with writing(path.parent), replacing(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **beside, **spoken)


def _read(path: Path) -> Opened:
    with np.load(path, allow_pickle=False) as file:
        if lacking := [name for name in BESIDE if name not in file.files]:
            raise SealedTestError(
                f"{path.name} must hold what this version of tune_brain scores",
                found=f"no {', '.join(lacking)} in {path}, which an older one wrote",
                remedy="Start a new run: the test of this one has been opened.",
            )
        return Opened(
            **{name: file[name] for name in BESIDE},
            probabilities={
                name: file[f"probabilities/{name}"] for name in named(file.files, "probabilities")
            },
        )


def _unreadable(kept: Path, error: Exception) -> SealedTestError:
    return SealedTestError(
        "What the models said of the sealed test must be readable, since they say it once",
        found=f"{kept}: {error}",
        remedy="Bring the file back from a copy of the run, or start a new run.",
    )
