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
SEARCH, NOISE = 0, 1

#: Philox makes four doubles for each value of its counter.
_PER_COUNT = 4
_BLOCK = 512


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
                return self._draw(count)
            size = -(-max(_BLOCK, count - left) // _PER_COUNT) * _PER_COUNT
            fresh = self._draw(size).T
            self._block = np.concatenate([self._block[self._next :], fresh]) if left else np.ascontiguousarray(fresh)
            self._next = 0
        start = self._next
        self._next += count
        return self._block[start : self._next].T

    def _draw(self, count: int) -> NDArray[np.float64]:
        """The next ``count`` doubles of every stream, a multiple of four: ``[runs, count]``."""
        out = np.empty((self.runs, count))
        counter = np.array([self._counter, 0, 0, 0], dtype=np.uint64)
        state: Any = {
            "bit_generator": "Philox",
            "state": {"counter": counter, "key": None},
            "buffer": np.zeros(_PER_COUNT, dtype=np.uint64),
            "buffer_pos": _PER_COUNT,  # the buffer is used up: the next double comes from the counter
            "has_uint32": 0,
            "uinteger": 0,
        }
        for row, key in zip(out, self._keys, strict=True):
            state["state"]["key"] = key
            self._philox.state = state
            self._rng.random(out=row)
        self._counter += count // _PER_COUNT
        return out
