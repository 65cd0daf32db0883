"""Feature maps of a step are freed and needed again at once: keep their memory instead of giving it back."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed memory for the process; return whether it does.

    By default glibc returns large blocks to the system, and each page of a feature map then costs a fault on its next
    use: measured on one core, a fifth of the time of ranking tss cells. It holds for the whole process, whose memory
    stays at its peak from then on; so programs call it, at their start, and the library never does. Elsewhere than on
    Linux with glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
