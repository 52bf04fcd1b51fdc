"""The set-up of a training process, in a process of its own."""

import subprocess
import sys

import pytest

STEPS = """
import platform, resource
import torch
from tune_brain.train.process import make_ready
if READY: make_ready()
def steps():
    for _ in range(20): torch.ones(10_000_000)
steps()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
steps()
after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(torch.get_num_threads(), after - before, platform.libc_ver()[0])
"""


@pytest.mark.slow
def test_freed_memory_is_reused_without_page_faults() -> None:
    def measured(ready: bool) -> tuple[int, int, str]:
        program = STEPS.replace("READY", str(ready))
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        threads, faults, library = done.stdout.split()
        return int(threads), int(faults), library

    threads, faults, library = measured(ready=True)
    assert threads == 1
    if library == "glibc":
        assert faults < 100 < measured(ready=False)[1]
