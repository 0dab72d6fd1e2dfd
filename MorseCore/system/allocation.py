"""Memory that a tensor leaves is kept for the next one, on Linux.

glibc asks the system for every large block anew and gives it back at once, and the system clears
each page again: on a CPU, half of the time of a training step of the 3D-UNet went there.
"""

import ctypes
import sys

__all__ = ["SMALL", "give_back_freed_memory", "keep_freed_memory"]

SMALL = 32 * 2**20  # bytes; the most that glibc takes as a limit
# malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4
_ALWAYS = 2**31 - 1  # bytes free at the heap's end before any is given back
_STEP = 64 * 2**20  # bytes by which the heap grows


def keep_freed_memory(*, largest: int | None = None) -> bool:
    """Let this process reuse its memory; whether its C library could be told (glibc only).

    To be called before the first large tensor. Blocks of all sizes suit training, where one step
    has the tensors of the step before. Where sizes differ the process grows by the gaps between
    them: a segmentation therefore keeps blocks up to :data:`SMALL`, which those of its windows
    are, and gives back those as large as a scan.

    :param largest: in bytes; larger blocks are given back as ever.
    """
    library = _glibc()
    if library is None:
        return False
    wanted = [(_M_TRIM_THRESHOLD, _ALWAYS), (_M_TOP_PAD, _STEP)]
    wanted.append((_M_MMAP_MAX, 0) if largest is None else (_M_MMAP_THRESHOLD, largest))
    answers = [library.mallopt(name, value) for name, value in wanted]  # each is tried
    return all(answers)


def give_back_freed_memory() -> bool:
    """Return to the system what is free now, before a long wait; whether there was any."""
    library = _glibc()
    return library is not None and bool(library.malloc_trim(0))


def _glibc() -> ctypes.CDLL | None:
    """The C library, if it has what is asked of it; musl and other systems' do not."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    has_both = hasattr(library, "mallopt") and hasattr(library, "malloc_trim")
    return library if has_both else None
