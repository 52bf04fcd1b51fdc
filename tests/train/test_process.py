"""The set-up of a training process, in a process of its own."""

import subprocess
import sys

import pytest
import torch

from tune_brain.train.process import check_gpu

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


@pytest.mark.parametrize(
    ("share", "free", "kept", "fails"),
    [
        (1.0, 9, 0, False),
        (1.0, 7, 0, True),
        (1.0, 7, 2, False),
        (2.0, 7, 0, True),
        (0.5, 1, 0, False),
    ],
)
def test_a_whole_gpu_must_have_half_of_its_memory_free_or_kept_by_this_process(
    monkeypatch: pytest.MonkeyPatch, share: float, free: int, kept: int, fails: bool
) -> None:
    monkeypatch.setattr(torch, "ones", lambda size, **_: torch.zeros(size))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free * 2**30, 16 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: kept * 2**30)
    if fails:
        with pytest.raises(RuntimeError, match=r"7\.0 of 16\.0 GiB are free"):
            check_gpu(share)
    else:
        check_gpu(share)


def test_a_gpu_that_computes_nothing_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> torch.Tensor:
        raise RuntimeError("uncorrectable ECC error")

    monkeypatch.setattr(torch, "ones", fails)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (16 * 2**30, 16 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: 0)
    with pytest.raises(RuntimeError, match="ECC"):
        check_gpu(1.0)
