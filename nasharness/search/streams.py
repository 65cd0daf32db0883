"""Randomness of a batch of runs: one numpy Generator a run, all drawing in lockstep.

Run *s* draws from a PCG64 seeded by ``[s, purpose]`` and by nothing else, so what it draws is the same alone, in a
batch of 500, on another machine, or whatever happens to numpy's global state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: What a stream is for; the second word of its seed. Streams of one run never overlap.
SEARCH, NOISE = 0, 1

_BLOCK = 256


def generator(seed: int, purpose: int = SEARCH) -> np.random.Generator:
    """Return the generator of one run. ``seed`` is a non-negative integer."""
    return np.random.Generator(np.random.PCG64([seed, purpose]))


class Streams:
    """The random streams of a batch of runs.

    The *n*-th uniform a run receives is the *n*-th double of its generator, however the draws are grouped. Every draw
    is made for all runs, finished ones too: a draw that depended on the other runs of the batch would break the
    promise above.
    """

    def __init__(self, seeds: Sequence[int] | NDArray[np.int64], purpose: int = SEARCH) -> None:
        self._generators = [generator(int(seed), purpose) for seed in seeds]
        self.runs = len(self._generators)
        self._block = np.empty((0, self.runs))  # [drawn, runs]: a draw for all runs is one contiguous row
        self._next = 0

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Draw ``count`` uniforms in [0, 1) for every run: ``[runs, count]``."""
        left = len(self._block) - self._next
        if count > left:
            if left == 0 and count >= _BLOCK:  # a large draw needs no block
                return self._draw(count)
            fresh = self._draw(max(_BLOCK, count - left)).T
            self._block = np.concatenate([self._block[self._next :], fresh]) if left else np.ascontiguousarray(fresh)
            self._next = 0
        start = self._next
        self._next += count
        return self._block[start : self._next].T

    def _draw(self, count: int) -> NDArray[np.float64]:
        out = np.empty((self.runs, count))
        for row, rng in zip(out, self._generators, strict=True):
            rng.random(out=row)
        return out
