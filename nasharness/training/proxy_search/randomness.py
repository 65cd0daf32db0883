"""Seeds of the trainings of a search."""

from __future__ import annotations

import zlib

import numpy as np

from nasharness.training.proxy_search.shrink import Job

#: What a stream is for, beside the search's own.
DATA, OPERATIONS, TRAINING = 1, 2, 3


def seed_of(seed: int, job: Job, *, paired: bool) -> int:
    """Return the seed of one training: 62 bits from the search's seed, the repeat and, unless ``paired``, the graph."""
    own = 0 if paired else zlib.crc32(str(job.graph).encode())
    low, high = np.random.SeedSequence([seed, TRAINING, job.repeat, own]).generate_state(2)
    return (int(high) << 30 | int(low) >> 2) & ((1 << 62) - 2)
