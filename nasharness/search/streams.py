"""Randomness of a batch of runs: each run its own numpy stream, all drawing in lockstep.

Run *s* draws from numpy's Philox generator with the key ``[s, purpose]`` and from nothing else, so what it draws is the
same alone, in a batch of 500, on another machine, or whatever happens to numpy's global state. Philox is counter-based
(Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011): different keys are independent streams by design,
and any point of a stream is reached without drawing what lies before it. One generator object therefore serves a whole
batch, which is ten times cheaper than making one a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What a stream is for; the second word of its key. Streams of one run never overlap.
SEARCH, NOISE, START = 0, 1, 2

#: Philox makes four doubles for each value of its counter.
_PER_COUNT = 4
_BLOCK = 512
#: Runs that are drawn before their doubles are put into a block.
_RUNS = 32


def generator(seed: int, purpose: int = SEARCH) -> np.random.Generator:
    """Return the generator of one run. ``seed`` is a non-negative integer below 2**64."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, purpose], dtype=np.uint64)))


class Streams:
    """The random streams of a batch of runs.

    The *n*-th uniform a run receives is the *n*-th double of ``generator(seed)``, however the draws are grouped. Every
    draw is made for all runs, finished ones too: a draw that depended on the other runs of the batch would break the
    promise above.
    """

    def __init__(self, seeds: Sequence[int] | NDArray[np.int64], purpose: int = SEARCH) -> None:
        self.runs = len(seeds)
        self._keys = np.zeros((self.runs, 2), dtype=np.uint64)
        self._keys[:, 0] = seeds
        self._keys[:, 1] = purpose
        self._philox = np.random.Philox(key=0)
        self._rng = np.random.Generator(self._philox)
        self._counter = 0
        self._block = np.empty((0, self.runs))  # [drawn, runs]: a draw for all runs is one contiguous row
        self._next = 0

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Draw ``count`` uniforms in [0, 1) for every run: ``[runs, count]``."""
        left = len(self._block) - self._next
        if count > left:
            if left == 0 and count >= _BLOCK // 2 and count % _PER_COUNT == 0:  # a large draw needs no block
                out = np.empty((self.runs, count))
                self._draw(out, 0)
                self._counter += count // _PER_COUNT
                return out
            size = -(-max(_BLOCK, count - left) // _PER_COUNT) * _PER_COUNT
            block = np.empty((left + size, self.runs))
            block[:left] = self._block[self._next :]
            some = np.empty((min(_RUNS, self.runs), size))  # turned over while it is in the processor's cache
            for first in range(0, self.runs, _RUNS):
                part = some[: min(_RUNS, self.runs - first)]
                self._draw(part, first)
                block[left:, first : first + len(part)] = part.T
            self._counter += size // _PER_COUNT
            self._block, self._next = block, 0
        start = self._next
        self._next += count
        return self._block[start : self._next].T

    def _draw(self, out: NDArray[np.float64], first: int) -> None:
        """Fill ``out`` ``[some runs, count]`` with the next doubles of the streams from run ``first`` on.

        ``count`` is a multiple of four.
        """
        counter = np.array([self._counter, 0, 0, 0], dtype=np.uint64)
        inner: dict[str, Any] = {"counter": counter, "key": None}
        state: Any = {
            "bit_generator": "Philox",
            "state": inner,
            "buffer": np.zeros(_PER_COUNT, dtype=np.uint64),
            "buffer_pos": _PER_COUNT,  # the buffer is used up: the next double comes from the counter
            "has_uint32": 0,
            "uinteger": 0,
        }
        philox, random = self._philox, self._rng.random
        for row, key in zip(out, self._keys[first : first + len(out)], strict=True):
            inner["key"] = key
            philox.state = state
            random(out=row)
