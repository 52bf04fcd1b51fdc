"""What a process does before it trains or predicts as a trial."""

import ctypes
import gc

import torch

# Of <malloc.h> of the GNU C library.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1
_FULL = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "unable to find an engine")
"""The last is cuDNN's, where none of its ways to compute a convolution finds room."""


def make_ready() -> None:
    """Make this process train on one thread, and keep the memory that training takes and gives back.

    Another number of threads adds in another order, so rows would differ; so do some of cuDNN's ways to
    compute a gradient from one time to the next.

    The GNU C library gives large blocks back to the system when they are freed, and the system clears every
    page when they are taken again: 12 to 45 MB at each step at 64 px, about a tenth of its time
    (`tests/benchmarks/steps.py`). Other C libraries are left as they are. See mallopt(3).
    """
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)


def give_back() -> None:
    """Give a GPU's memory back that the last trial took: other processes may share it.

    What an optimizer's first construction leaves in a cycle holds weights and moments until it is collected.
    """
    gc.collect()
    torch.cuda.empty_cache()


def is_memory(error: Exception) -> bool:
    """Whether memory has ended: Python's own error, torch's, or what NVIDIA's libraries say."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error) for words in _FULL
    )
