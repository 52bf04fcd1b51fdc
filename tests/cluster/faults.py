"""A small search to disturb: its driver, the faults, and what its rows must be afterwards.

    python tests/cluster/faults.py search DATA FOLDER CONCURRENCY CONFIGS
    python tests/cluster/faults.py resume FOLDER

runs the driver of such a search. Its workers write a checkpoint after each epoch and report each epoch
separately, as those of a search do whose epochs take minutes.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tune_brain.config import RunConfig
from tune_brain.records import EpochRow, TrialRow, read, trials_of
from tune_brain.search import run, trainable
from tune_brain.search.trainable import TrialWorker
from tune_brain.stages.resume import resume
from tune_brain.stages.search import search

SIZE, CONFIGS, LADDER = 24, 11, (1, 3)
"""More configurations than the sampler draws at random before it learns from the rows."""
FEW = 2
"""Enough configurations to see that a search continues."""
MARGIN, HOARDED = 4_000_000_000, 200_000_000
"""Bytes that trials may take in `watched_memory` before Ray kills one; bytes that a trial takes at a time."""
WHEN = {"started", "seconds", "node", "worker", "attempt"}
"""Fields that may differ between a disturbed trial and the same one undisturbed."""
MARK = "TUNE_BRAIN_FAULTS"
"""Environment variable by which `workers` finds the workers of this process's searches, and no others on this
machine: Ray's processes inherit it, and so do drivers from the process that starts them."""
os.environ.setdefault(MARK, str(os.getpid()))

Told = list[dict[str, Any]]


def equal(folder: Path, other: Path) -> bool:
    """Whether two searches trained the same trials with the same rows, bit for bit."""
    return trials(folder) == trials(other) and epochs(folder) == epochs(other)


class Watched(TrialWorker):
    """A worker that reports each epoch and writes a checkpoint after it."""

    def setup(self, config: dict[str, Any], **given: Any) -> None:
        super().setup(config, **given)
        trainable.STEP = 0.0
        self._keeper._every = 0.0


def misbehaving(does: Callable[[dict[str, Any]], None]) -> type[Watched]:
    """A worker that calls `does` with a trial's configuration before it trains it."""

    class Misbehaving(Watched):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            super().reset_config(new_config)
            self._rows = self._spoiled(new_config)
            return True

        def _spoiled(self, trial: dict[str, Any]) -> Iterator[dict[str, float]]:
            does(trial)
            yield from self._train(trial)

    return Misbehaving


def hanging_once(marker: Path) -> type[Watched]:
    """A worker of which the first one hangs when it starts, and is given a second to do so.

    Args:
        marker: a file that does not exist; the first worker creates it.
    """

    class Hanging(Watched):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._hangs = not marker.exists()
            marker.touch()
            trainable.START = 1.0 if self._hangs else 600.0
            super().__init__(*args, **kwargs)

        def setup(self, config: dict[str, Any], **given: Any) -> None:
            if self._hangs:
                time.sleep(1e6)
            super().setup(config, **given)

    return Hanging


def refusing_once(marker: Path) -> type[Watched]:
    """A worker that refuses to take trial 2 after another, as if its GPU had failed; the next one takes it.

    Args:
        marker: a file that does not exist; it is created when a worker refuses.
    """

    class Refusing(Watched):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            if new_config["number"] == 2 and not marker.exists():
                marker.touch()
                raise RuntimeError("others hold its GPU")
            return super().reset_config(new_config)

    return Refusing


def allocates(trial: dict[str, Any]) -> None:
    """Trial 1 never has enough memory; trial 2 has enough with two slots."""
    if trial["number"] == 1 or (trial["number"] == 2 and trial["slots"] == 1):
        torch.empty(2**50)


def hoards(trial: dict[str, Any]) -> None:
    """Trial 1 takes more and more memory until it is killed."""
    held = list[bytearray]()
    while trial["number"] == 1 and len(held) < 2 * MARGIN // HOARDED:
        held.append(bytearray(os.urandom(1)) * HOARDED)
        time.sleep(0.05)


def sleeps(trial: dict[str, Any]) -> None:
    """Trial 1 hangs."""
    if trial["number"] == 1:
        time.sleep(1e6)


def stops(trial: dict[str, Any]) -> None:
    """The process of trial 1 is stopped, so that it cannot even answer."""
    if trial["number"] == 1:
        os.kill(os.getpid(), signal.SIGSTOP)


def asked(data: Path, folder: Path, concurrency: int, configs: int = CONFIGS, **more: Any) -> RunConfig:
    """The configuration of the search."""
    small = {"arch": ("linear", "cnn"), "ladder": LADDER, "image_size": SIZE, "precision": "fp32"}
    plain = {"final_round": (0, 0), "weights": "none"}
    fields = {**small, **plain, "configs": configs, "concurrency": concurrency, **more}
    return RunConfig(data=data, out=folder, **fields)


def trials(folder: Path) -> Told:
    """The latest row of each trial, without the fields of `WHEN`."""
    return [row.model_dump(exclude=WHEN) for row in trials_of(folder)]


def epochs(folder: Path) -> Told:
    """The rows of epochs, ordered by trial, without their seconds."""
    rows = [row.model_dump(exclude={"seconds"}) for row in read(folder / "epochs.jsonl", EpochRow)]
    return sorted(rows, key=lambda row: row["trial"])


def lost(folder: Path) -> int:
    """How many trials did not complete, or lack an epoch or have epochs out of order."""
    recorded: dict[int, list[int]] = {}
    for row in epochs(folder):
        recorded.setdefault(row["trial"], []).append(row["epoch"])
    return sum(
        row["state"] != "completed" or recorded.get(row["trial"]) != list(range(1, row["epochs"] + 1))
        for row in trials(folder)
    )


def repeated(folder: Path) -> int:
    """How many trials completed twice, rungs were trained twice and values sampled twice, in total."""
    ends = [row.trial for row in read(folder / "trials.jsonl", TrialRow) if row.state == "completed"]
    rows = trials(folder)
    rungs = [(row["arch"], row["configuration"], row["epochs"], row["repeat"]) for row in rows]
    suggested = {(row["arch"], row["configuration"]): json.dumps(row["values"]) for row in rows}
    values = [(arch, value) for (arch, _), value in suggested.items()]
    return sum(len(every) - len(set(every)) for every in (ends, rungs, values))


def workers() -> list[int]:
    """The processes on this machine that train trials of this process's searches."""
    mark, found = f"{MARK}={os.environ[MARK]}".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ours = mark in (entry / "environ").read_bytes().split(b"\0")
            if ours and b"Watched" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def killing_workers(folder: Path, seed: int, every: tuple[int, int] = (8, 20)) -> Iterator[list[int]]:
    """Kill a random worker again and again until the block ends.

    Args:
        folder: the run.
        seed: seed of the choices.
        every: range from which the number of epochs between two kills is drawn.

    Yields:
        The list of the processes killed so far.
    """
    chance, over, killed = random.Random(seed), threading.Event(), []

    def kill() -> None:
        at = chance.randint(*every)
        while not over.wait(0.01):
            if len(read(folder / "epochs.jsonl", EpochRow)) < at or not (there := workers()):
                continue
            time.sleep(chance.uniform(0, 0.3))
            victim = chance.choice(there)
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)
            at += chance.randint(*every)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def watched_memory() -> Iterator[None]:
    """Let Ray, if started in the block, kill a worker when this machine has `MARGIN` less memory than now.

    Raises:
        MemoryError: too little memory is available for that.
    """
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    has = {name: int(kilobytes) * 1024 for name, kilobytes, *_ in lines}
    if has["MemAvailable:"] < 3 * MARGIN:
        raise MemoryError
    share = 1 - (has["MemAvailable:"] - MARGIN) / has["MemTotal:"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_memory_usage_threshold", f"{share:.4f}")
        patch.setenv("RAY_memory_monitor_refresh_ms", "50")
        yield


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """Mount a small disk on an empty folder.

    Args:
        folder: the folder.
        kilobytes: size of the disk.

    Raises:
        CalledProcessError: this user cannot mount; only root can.
    """
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def driver(*arguments: object) -> subprocess.Popen[bytes]:
    """Start a driver in its own process, without output."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill_driver(running: subprocess.Popen[bytes], folder: Path, chance: random.Random) -> None:
    """Kill a driver, and half of the time cut off the row written last, as if it had been half-written."""
    running.kill()
    running.wait()
    files = [file for file in folder.glob("*.jsonl") if file.stat().st_size]
    if files and chance.random() < 0.5:
        file = max(files, key=lambda file: file.stat().st_mtime_ns)
        whole = file.read_bytes()
        length = len(whole) - whole.rstrip(b"\n").rfind(b"\n") - 1
        os.truncate(file, len(whole) - chance.randint(1, length))


def main() -> None:
    run.TrialWorker = Watched  # type: ignore[misc]
    command, *given = sys.argv[1:]
    if command == "search":
        data, folder, concurrency, configs = given
        search(asked(Path(data), Path(folder), int(concurrency), int(configs)))
    else:
        resume(Path(given[0]))


if __name__ == "__main__":
    main()
