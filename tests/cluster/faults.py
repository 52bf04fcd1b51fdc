"""A small search that others disturb: its command, its killers, and what its rows must then say.

    python tests/cluster/faults.py search DATA FOLDER CONCURRENCY CONFIGS
    python tests/cluster/faults.py resume FOLDER

is the driver of such a search. Its workers keep a checkpoint after each epoch and hand over each alone, as
those of a search whose epochs take minutes do.
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
"""Enough to see that a search goes on."""
MARGIN, HOARDED = 4_000_000_000, 200_000_000
"""Bytes that trials may take before Ray ends one, where it watches; those that a trial takes at a time."""
WHEN = {"started", "seconds", "node", "worker", "attempt"}
"""What may differ between a disturbed trial and the same undisturbed."""

Told = list[dict[str, Any]]


def equal(folder: Path, other: Path) -> bool:
    """Whether two searches trained the same trials with the same rows, bit for bit."""
    return trials(folder) == trials(other) and epochs(folder) == epochs(other)


class Watched(TrialWorker):
    """A worker whose every epoch is a result and a checkpoint."""

    def setup(self, config: dict[str, Any], **given: Any) -> None:
        super().setup(config, **given)
        trainable.STEP = 0.0
        self._keeper._every = 0.0


def misbehaving(does: Callable[[dict[str, Any]], None]) -> type[Watched]:
    """A worker that does something before it trains a trial, told what it was asked."""

    class Misbehaving(Watched):
        def reset_config(self, new_config: dict[str, Any]) -> bool:
            super().reset_config(new_config)
            self._rows = self._spoiled(new_config)
            return True

        def _spoiled(self, told: dict[str, Any]) -> Iterator[dict[str, float]]:
            does(told)
            yield from self._begun(told)

    return Misbehaving


def allocates(told: dict[str, Any]) -> None:
    """Trial 1 never has enough memory, trial 2 has when it has the room of two."""
    if told["number"] == 1 or (told["number"] == 2 and told["room"] == 1):
        torch.empty(2**50)


def hoards(told: dict[str, Any]) -> None:
    """Trial 1 takes more and more memory, until something ends it."""
    held = list[bytearray]()
    while told["number"] == 1 and len(held) < 2 * MARGIN // HOARDED:
        held.append(bytearray(os.urandom(1)) * HOARDED)
        time.sleep(0.05)


def sleeps(told: dict[str, Any]) -> None:
    """Trial 1 hangs."""
    if told["number"] == 1:
        time.sleep(1e6)


def stops(told: dict[str, Any]) -> None:
    """The process of trial 1 stands still."""
    if told["number"] == 1:
        os.kill(os.getpid(), signal.SIGSTOP)


def asked(data: Path, folder: Path, concurrency: int, configs: int = CONFIGS, **more: Any) -> RunConfig:
    """What the search is asked for."""
    small = {"arch": ("linear", "cnn"), "ladder": LADDER, "image_size": SIZE, "precision": "fp32"}
    plain = {"final_round": (0, 0), "weights": "none"}
    fields = {**small, **plain, "configs": configs, "concurrency": concurrency, **more}
    return RunConfig(data=data, out=folder, **fields)


def trials(folder: Path) -> Told:
    """What the rows say of each trial, but for when, where and at which attempt it ran."""
    return [row.model_dump(exclude=WHEN) for row in trials_of(folder)]


def epochs(folder: Path) -> Told:
    """What the rows say of each epoch, in the order of the trials, but for its seconds."""
    rows = [row.model_dump(exclude={"seconds"}) for row in read(folder / "epochs.jsonl", EpochRow)]
    return sorted(rows, key=lambda row: row["trial"])


def lost(folder: Path) -> int:
    """Trials that did not end well, or of which an epoch is missing or out of its order."""
    heard: dict[int, list[int]] = {}
    for row in epochs(folder):
        heard.setdefault(row["trial"], []).append(row["epoch"])
    return sum(
        row["state"] != "completed" or heard.get(row["trial"]) != list(range(1, row["epochs"] + 1))
        for row in trials(folder)
    )


def repeated(folder: Path) -> int:
    """Trials run to their end twice, rungs of a configuration trained twice, values suggested twice."""
    ends = [row.trial for row in read(folder / "trials.jsonl", TrialRow) if row.state == "completed"]
    rows = trials(folder)
    rungs = [(row["arch"], row["configuration"], row["epochs"], row["repeat"]) for row in rows]
    suggested = {(row["arch"], row["configuration"]): json.dumps(row["values"]) for row in rows}
    values = [(arch, value) for (arch, _), value in suggested.items()]
    return sum(len(every) - len(set(every)) for every in (ends, rungs, values))


def workers() -> list[int]:
    """Processes of trials, on this machine."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and b"Watched" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def killing_workers(folder: Path, seed: int, every: tuple[int, int] = (8, 20)) -> Iterator[list[int]]:
    """Kill a worker each time that so many epochs have ended, drawn anew, until the block ends.

    Yields:
        The processes that were killed.
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
    """Ray that starts in the block ends a worker when this machine has `MARGIN` less memory than now.

    Raises:
        MemoryError: there is not so much.
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
    """Mount a disk of so many kB on an empty folder.

    Raises:
        CalledProcessError: only root may.
    """
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def driver(*arguments: object) -> subprocess.Popen[bytes]:
    """Start a driver in a process of its own, silent."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def kill_driver(running: subprocess.Popen[bytes], folder: Path, chance: random.Random) -> None:
    """Kill a driver, and tear the row that was written last as if the kill had met it half-written."""
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
