"""A run that grows while it is watched, and a dashboard in a process of its own."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from program import PROGRAM

from tune_brain.records import TrialRow, trials_of

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


class Growing:
    """A copy of a reference run, in the state that it had after some of its rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows = {}
        shutil.copytree(REFERENCE / "sartaj", folder)
        for name in ("trials.jsonl", "epochs.jsonl"):
            self._rows[name] = (folder / name).read_bytes().splitlines(keepends=True)
            (folder / name).write_bytes(b"")
        for name in ("scores.json", "comparisons.json", "sealed.json", "seed_runs.jsonl", "winners"):
            shutil.move(folder / name, folder.parent / name)

    def grow(self, trials: int, epochs: int, torn: bytes = b"") -> None:
        """Keep the first rows of each file, and append a piece of the next."""
        for name, count in (("trials.jsonl", trials), ("epochs.jsonl", epochs)):
            (self.folder / name).write_bytes(b"".join(self._rows[name][:count]) + torn)

    def trials(self) -> list[TrialRow]:
        """The latest row of each trial."""
        return trials_of(self.folder)


@contextlib.contextmanager
def dashboard(*folders: Path, port: int | str = 0) -> Iterator[str]:
    """The address of a dashboard of some runs, in a process of its own."""
    command = [*PROGRAM, "dashboard", *map(str, folders), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
