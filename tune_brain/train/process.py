"""The set-up of a process that trains or predicts: threads, determinism and memory."""

import ctypes
import gc

import torch

# Parameters of mallopt, from <malloc.h> of the GNU C library.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "unable to find an engine")
"""Parts of error messages. The last is cuDNN's, if none of its convolution algorithms fits into memory."""


def make_ready() -> None:
    """Make this process train reproducibly, on one thread, and keep the memory that training frees.

    Reproducibly: another number of threads adds in another order, and some of cuDNN's algorithms give another
    gradient each time, so that rows would differ.

    Memory: the GNU C library returns large freed blocks to the system, which clears every page when they are
    allocated again: 12 to 45 MB in each step at 64 px, about a tenth of its time
    (`tests/benchmarks/steps.py`). See mallopt(3). Other C libraries are not changed.
    """
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, _NEVER)


def check_gpu(share: float) -> None:
    """Check, before a trial, that the GPU of this process can train it: a trial that fails there is lost.

    How much memory is free is judged on a whole GPU only. Of a part, other workers of the same search may
    hold more than theirs, and give it back.

    Args:
        share: how much of the GPU this process may use; 1 or more: all of it.

    Raises:
        RuntimeError: the GPU computes nothing (torch's error), or others hold more than half of its memory.
    """
    torch.ones(1, device="cuda").add_(1).item()
    free, total = torch.cuda.mem_get_info()
    # What this process has kept for its next trial is free, too.
    free += torch.cuda.memory_reserved()
    if share >= 1 and free < total / 2:
        raise RuntimeError(
            f"others hold most of its GPU's memory: {free / 2**30:.1f} of {total / 2**30:.1f} GiB are free "
            "(--gpus-per-trial 0.6 would share it with them)"
        )


def give_back() -> None:
    """Release the GPU memory of the last trial, since other processes may share the GPU.

    Garbage is collected first: constructing an optimizer leaves a reference cycle that keeps the model's
    weights and Adam's moments alive.
    """
    gc.collect()
    torch.cuda.empty_cache()


def is_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out: Python's, torch's or one of NVIDIA's libraries."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        words in str(error) for words in _OUT_OF_MEMORY
    )
