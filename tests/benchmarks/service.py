"""The prediction service in its own process, with a bundle of an untrained network, for the benchmarks."""

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
    """A running service: its port and its process id."""

    port: int
    process: int
    images: Path
    """Demo images to send."""

    def memory(self) -> float:
        """Resident memory in MB (Linux)."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def peak(self) -> float:
        """Peak resident memory in MB (Linux)."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


@contextmanager
def running(arch: str, size: int) -> Iterator[Service]:
    """Run `tune-brain serve` on a free port, with one network in fp32."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        write_demo(images, per_class=(14, 5))
        bundle = write_bundle(Path(folder) / "bundle", images, (arch,), size)
        program = [*PROGRAM, "serve", bundle, "--port", "0"]
        environment = {**os.environ, "COLUMNS": "200"}
        with subprocess.Popen(program, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stderr is not None
            line = process.stderr.readline()
            match = re.search(r":(\d+)", line)
            assert match, line
            try:
                yield Service(int(match[1]), process.pid, images)
            finally:
                process.terminate()
