"""The memory of a training on a CPU."""

import ctypes

# <malloc.h>
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees, for the next step; glibc alone knows how.

    Every step takes and frees the same gigabytes. Left alone, glibc gives large blocks back to the
    system at once, and a seventh of a step goes into pages that are cleared and mapped anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
