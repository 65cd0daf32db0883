"""What fits into this machine's memory, said before it is asked for."""

from __future__ import annotations

import os

from nasharness.errors import UsageError

#: Share of the memory that one thing may take.
SHARE = 0.6


def memory() -> int:
    """Bytes of this machine's memory; 8 GiB where it does not say."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30


def check_memory(what: str, needed: float, advice: str) -> None:
    """Raise UsageError where ``what``, said in the plural, would take more than its share."""
    if needed > SHARE * memory():
        raise UsageError(
            f"{what} would take about {needed / 2**30:.1f} GiB of memory; this machine has {memory() / 2**30:.1f} GiB. "
            f"{advice}"
        )
