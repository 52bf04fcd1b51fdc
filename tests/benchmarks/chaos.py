"""Searches disturbed by every known kind of fault, and what each fault costs them.

    python tests/benchmarks/chaos.py [--quick] [--only FAULT ...]

A small search (linear and cnn, 24 px, 11 configurations, demo images) runs undisturbed and then disturbed:
workers are killed at random epochs, drivers are killed at random moments with a torn last row, disks are
filled. Its final rows must equal the undisturbed ones: with one trial at a time the whole leaderboard, bit
for bit; with two, each trial those of the same trial trained alone. `lost` counts trials that did not
complete or lack an epoch; `repeated` counts trials completed twice, rungs trained twice and values sampled
twice.
"""

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import machines
import measure
import ray
import tally
import torch

sys.path.append(str(Path(__file__).parents[1] / "cluster"))
import faults

from tune_brain import compute
from tune_brain.config import RunConfig
from tune_brain.data.demo import write_demo
from tune_brain.data.prepare import prepare
from tune_brain.errors import TuneBrainError
from tune_brain.models import build
from tune_brain.records import TrialRow, trials_of
from tune_brain.runs import open_run
from tune_brain.search import run
from tune_brain.stages.resume import resume
from tune_brain.stages.search import search
from tune_brain.train.fit import fit
from tune_brain.train.training import begin

Outcome = dict[str, Any]
SAVED = measure.RESULTS / "chaos.json"


class Chaos:
    """A folder for disturbed searches, beside the undisturbed one."""

    def __init__(self, root: Path, *, quick: bool) -> None:
        self.root, self.quick, self.images = root, quick, root / "images"
        self.configs, self.repeats = (faults.FEW, 2) if quick else (faults.CONFIGS, 20)
        write_demo(self.images, per_class=(60, 8))
        self.alone = root / "alone"
        self._trained: dict[str, faults.Told] = {}

    def config(self, name: str, concurrency: int = 1, **more: Any) -> RunConfig:
        """The configuration of a search in its own folder."""
        return faults.asked(self.images, self.root / name, concurrency, self.configs, **more)

    def search_alone(self) -> float:
        """Run the undisturbed search; returns its seconds."""
        shutil.rmtree(self.alone, ignore_errors=True)
        return timed(lambda: search(self.config("alone")))

    def outcome(self, folder: Path, *, seconds: float, alone: float, disturbed: int) -> Outcome:
        """The outcome of a disturbed search with one trial at a time."""
        counts = {"lost": faults.lost(folder), "repeated": faults.repeated(folder)}
        equal = faults.equal(folder, self.alone)
        return {**counts, "equal": equal, "seconds": seconds, "alone": alone, "disturbed": disturbed}

    def as_if_alone(self, folder: Path) -> bool:
        """Whether each trial of a search has the same rows as when it is trained alone, in this process."""
        by_trial: dict[int, faults.Told] = {}
        for row in faults.epochs(folder):
            by_trial.setdefault(row.pop("trial"), []).append(row)
        spaces = open_run(folder).spaces
        return all(by_trial[row.trial] == self._rows(spaces[row.arch], row) for row in trials_of(folder))

    def _rows(self, space: Any, row: TrialRow) -> faults.Told:
        size = {"image_size": faults.SIZE, "classes": 4, "precision": "fp32"}
        config = space.trial(row.values, epochs=row.epochs, cycle=row.cycle, seed=row.seed, **size)
        key = config.model_dump_json()
        if key not in self._trained:
            data = prepare(self.images, image_size=faults.SIZE, seed=0).development()
            training = begin(build(config), config, data, torch.device("cpu"))
            rows = [{"arch": row.arch, **epoch} for epoch in fit(training)]
            self._trained[key] = [
                {name: epoch[name] for name in epoch if name != "seconds"} for epoch in rows
            ]
        return self._trained[key]


def timed(call: Callable[[], Any]) -> float:
    """Call a function; returns its seconds."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@contextmanager
def with_ray(chaos: Chaos, concurrency: int = 1) -> Iterator[None]:
    """Keep Ray running for several searches."""
    with compute.session(chaos.config("unused", concurrency)) as session:
        session.slots()
        yield


def killed_workers(chaos: Chaos) -> Iterator[Outcome]:
    """Workers killed at random epochs, one trial at a time."""
    with with_ray(chaos):
        undisturbed = chaos.search_alone()
        for seed in range(chaos.repeats // 2):
            folder = chaos.root / f"workers-{seed}"
            with faults.killing_workers(folder, seed) as killed:
                seconds = timed(lambda folder=folder: search(chaos.config(folder.name)))
            yield chaos.outcome(folder, seconds=seconds, alone=undisturbed, disturbed=len(killed))


def killed_workers_of_two(chaos: Chaos) -> Iterator[Outcome]:
    """Workers killed at random epochs, two trials at a time."""
    with with_ray(chaos, 2):
        undisturbed = timed(lambda: search(chaos.config("alone-2", 2)))
        for seed in range(chaos.repeats - chaos.repeats // 2):
            folder = chaos.root / f"workers-of-two-{seed}"
            with faults.killing_workers(folder, 100 + seed) as killed:
                seconds = timed(lambda folder=folder: search(chaos.config(folder.name, 2)))
            outcome = chaos.outcome(folder, seconds=seconds, alone=undisturbed, disturbed=len(killed))
            yield {**outcome, "equal": chaos.as_if_alone(folder)}


def killed_workers_of_seconds(chaos: Chaos) -> Iterator[Outcome]:
    """Workers killed at random epochs that take seconds, so that starting another costs as much as in use."""
    images, shape = chaos.root / "more images", {"arch": ("cnn",), "image_size": 48, "ladder": (3, 6)}
    write_demo(images, per_class=(60, 8) if chaos.quick else (400, 8))

    def config(name: str) -> RunConfig:
        return faults.asked(images, chaos.root / name, 1, chaos.configs, **shape)

    with with_ray(chaos):
        undisturbed = timed(lambda: search(config("seconds-alone")))
        for seed in range(1 if chaos.quick else 3):
            folder = chaos.root / f"seconds-{seed}"
            with faults.killing_workers(folder, 200 + seed) as killed:
                seconds = timed(lambda folder=folder: search(config(folder.name)))
            outcome = chaos.outcome(folder, seconds=seconds, alone=undisturbed, disturbed=len(killed))
            yield {**outcome, "equal": faults.equal(folder, chaos.root / "seconds-alone")}


def killed_drivers(chaos: Chaos) -> Iterator[Outcome]:
    """Drivers killed at random moments, half of the time with a torn last row, then resumed."""
    shutil.rmtree(chaos.alone)
    started = time.perf_counter()
    if faults.driver("search", chaos.images, chaos.alone, 1, chaos.configs).wait():
        raise SystemExit("the undisturbed search failed")
    undisturbed = time.perf_counter() - started
    for seed in range(chaos.repeats):
        folder, rng = chaos.root / f"drivers-{seed}", random.Random(seed)
        started = time.perf_counter()
        running = faults.driver("search", chaos.images, folder, 1, chaos.configs)
        while not (folder / "run.toml").exists():
            time.sleep(0.01)
        startup = time.perf_counter() - started
        time.sleep(rng.uniform(0, max(0.0, undisturbed - startup)))
        killed = running.poll() is None
        faults.kill_driver(running, folder, rng)
        code = faults.driver("resume", folder).wait()
        seconds = time.perf_counter() - started
        outcome = chaos.outcome(folder, seconds=seconds, alone=undisturbed, disturbed=int(killed))
        yield {**outcome, "equal": outcome["equal"] and code == 0}


def misbehaving(chaos: Chaos, name: str, action: Callable[[dict[str, Any]], None], why: str) -> Outcome:
    """A search of four trials in which the second is expected to fail for this reason."""
    folder = chaos.root / name
    run.TrialWorker = faults.misbehaving(action)  # type: ignore[misc]
    try:
        search(faults.asked(chaos.images, folder, 1, 1, ladder=(1,), trial_timeout=30.0))
    finally:
        run.TrialWorker = faults.Watched  # type: ignore[misc]
    rows = trials_of(folder)
    as_expected = [row.why for row in rows] == ["finished", why, "finished", "finished"]
    return {"lost": 0 if as_expected else 1, "repeated": faults.repeated(folder), "disturbed": 1}


def short_of_memory(chaos: Chaos) -> Iterator[Outcome]:
    """A trial that never has enough memory, and one that has enough when it is retried with more."""
    with with_ray(chaos):
        yield misbehaving(chaos, "memory", faults.allocates, "memory")


def ended_for_memory(chaos: Chaos) -> Iterator[Outcome]:
    """A trial that takes so much memory that Ray kills its worker."""
    with faults.watched_memory(), with_ray(chaos):
        yield misbehaving(chaos, "hoarding", faults.hoards, "memory")


def hanging(chaos: Chaos) -> Iterator[Outcome]:
    """A trial that sleeps, and one whose process is stopped."""
    with with_ray(chaos):
        yield misbehaving(chaos, "sleeping", faults.sleeps, "timeout")
        yield misbehaving(chaos, "stopped", faults.stops, "timeout")


def full_disk(chaos: Chaos) -> Iterator[Outcome]:
    """A disk that fills up in the middle of a search, then has room again."""
    disk = chaos.root / "disk"
    disk.mkdir()
    with with_ray(chaos), faults.small_disk(disk, kilobytes=256):
        undisturbed = chaos.search_alone()
        whole = sum(file.stat().st_size for file in chaos.alone.rglob("*") if file.is_file())
        for part in (0.5,) if chaos.quick else (0.4, 0.6, 0.8):
            folder, filler = disk / f"run-{part}", disk / "filler"
            filler.write_bytes(bytes(max(0, 256_000 - int(whole * part))))
            started = time.perf_counter()
            try:
                search(chaos.config(str(folder)))
                ran_out = False
            except TuneBrainError as error:
                ran_out = "No space left" in str(error)
            filler.unlink()
            resume(folder)
            seconds = time.perf_counter() - started
            outcome = chaos.outcome(folder, seconds=seconds, alone=undisturbed, disturbed=int(ran_out))
            shutil.rmtree(folder)
            yield outcome


FAULTS = {
    "worker killed": killed_workers,
    "worker killed, two at a time": killed_workers_of_two,
    "worker killed, epochs of seconds": killed_workers_of_seconds,
    "driver killed": killed_drivers,
    "short of memory": short_of_memory,
    "worker ended for its memory": ended_for_memory,
    "trial hangs": hanging,
    "disk full": full_disk,
    "machine lost, machine joins": machines.come_and_go,
    "none, three unequal machines": machines.packing,
}


def main() -> None:
    options = measure.parser(__doc__)
    options.add_argument(
        "--only",
        choices=FAULTS,
        action="append",
        help="run one fault; may be repeated. Results of other faults are kept",
    )
    args = options.parse_args()
    ray.cloudpickle.register_pickle_by_value(faults)
    torch.set_num_threads(1)
    run.TrialWorker = faults.Watched  # type: ignore[misc]
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TUNE_BRAIN_CACHE"] = f"{folder}/cache"
        chaos = Chaos(Path(folder), quick=args.quick)
        with with_ray(chaos):
            chaos.search_alone()
        for name in args.only or FAULTS:
            outcomes = []
            for outcome in FAULTS[name](chaos):
                outcomes.append(outcome)
                print(f"  {name}: {outcome}", file=sys.stderr, flush=True)
            result[name] = {**tally.summary(outcomes), "commit": measure.machine()["commit"]}
    print(tally.table(result))
    earlier = json.loads(SAVED.read_text()) if args.only and SAVED.exists() else {}
    rows = {name: result.get(name, earlier.get(name)) for name in FAULTS}
    measure.report("chaos", {name: row for name, row in rows.items() if row}, quick=args.quick)


if __name__ == "__main__":
    main()
