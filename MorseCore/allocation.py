"""Memory that a tensor leaves is kept for the next one, on Linux.

glibc asks the system for every large block anew and gives it back at once, and the system clears
each page again: on a CPU, half of the time of a training step of the 3D-UNet went there. A step
after the other has the same tensors, so training is where it pays; a segmentation gained a tenth
and could grow by the gaps between blocks of many sizes, so it is left alone.
"""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_ALWAYS = 2**31 - 1  # bytes free at the heap's end before any is given back
_STEP = 64 * 2**20  # bytes by which the heap grows


def keep_freed_memory() -> bool:
    """Let this process reuse its memory; whether its C library could be told (glibc only).

    To be called before the first large tensor. The process stays as large as it ever was.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)  # the process's own; musl has no such function
    if not hasattr(library, "mallopt"):
        return False
    wanted = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _ALWAYS), (_M_TOP_PAD, _STEP))
    answers = [library.mallopt(name, value) for name, value in wanted]  # each is tried
    return all(answers)
