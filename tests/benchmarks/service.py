"""The service as a process of its own, with a bundle of an untrained network, for the benchmarks."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bundles import write_bundle
from program import PROGRAM

from tune_brain.data.demo import write_demo


@dataclass(frozen=True)
class Service:
    """Where it listens, and its process."""

    port: int
    process: int
    images: Path
    """Demo images to send."""

    def memory(self) -> float:
        """Resident memory in MB (Linux)."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def peak(self) -> float:
        """The most it ever held, in MB."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


@contextmanager
def running(arch: str, size: int) -> Iterator[Service]:
    """`tune-brain serve` on a free port, with one network in fp32."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        write_demo(images, per_class=(14, 5))
        bundle = write_bundle(Path(folder) / "bundle", images, (arch,), size)
        program = [*PROGRAM, "serve", bundle, "--port", "0"]
        environment = {**os.environ, "COLUMNS": "200"}
        with subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stderr is not None
            told = process.stderr.readline()
            found = re.search(r":(\d+)", told)
            assert found, told
            try:
                yield Service(int(found[1]), process.pid, images)
            finally:
                process.terminate()
