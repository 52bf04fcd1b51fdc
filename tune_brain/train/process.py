"""What a process does before it trains or predicts as a trial."""

import ctypes

import torch

# Of <malloc.h> of the GNU C library.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def make_ready() -> None:
    """Make this process train on one thread, and keep the memory that training takes and gives back.

    Another number of threads adds in another order, so rows would differ.

    The GNU C library gives large blocks back to the system when they are freed, and the system clears every
    page when they are taken again: 12 to 45 MB at each step at 64 px, about a tenth of its time
    (`tests/benchmarks/steps.py`). Other C libraries are left as they are. See mallopt(3).
    """
    torch.set_num_threads(1)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)
