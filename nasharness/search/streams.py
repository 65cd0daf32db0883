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
SEARCH, NOISE, START, REALISATION, TIES = range(5)

#: Philox makes four doubles for each value of its counter.
_PER_COUNT = 4
#: Doubles of a run that are made ready for small draws, and at most where their number is known beforehand.
_BLOCK, _MOST = 512, 1024
#: Draws of as many are rows of a block; smaller ones its columns, so that what all runs draw at once lies together.
_WIDE = 64
#: Runs that are drawn before their doubles are put into a block.
_RUNS = 32


def generator(seed: int, purpose: int = SEARCH) -> np.random.Generator:
    """Return the generator of one run. ``seed`` is a non-negative integer below 2**64."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, purpose], dtype=np.uint64)))


def lots(seeds: NDArray[np.int64], archs: NDArray[Any]) -> NDArray[np.float64]:
    """A number in [0, 1) for each architecture of ``archs [runs, ...]`` in each run: among equals the greatest wins.

    It depends on the seed and the architecture alone, so that ties are broken at random, and for all algorithms alike.
    Vectors of choices have a third axis. The hash is the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
    """
    with np.errstate(over="ignore"):
        keys = archs.astype(np.uint64)
        if archs.ndim == 3:
            keys = (keys * _mixed(np.arange(1, archs.shape[2] + 1, dtype=np.uint64))).sum(axis=2, dtype=np.uint64)
        own = _mixed(np.asarray(seeds).astype(np.uint64) + np.uint64(TIES))
        mixed = _mixed(keys + own.reshape(-1, *[1] * (keys.ndim - 1)))
        return np.asarray((mixed >> np.uint64(32)).astype(np.float64) * 2.0**-32)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Streams:
    """The random streams of a batch of runs.

    The *n*-th uniform a run receives is the *n*-th double of ``generator(seed)``, however the draws are grouped. Every
    draw is made for all runs, finished ones too: a draw that depended on the other runs of the batch would break the
    promise above.
    """

    def __init__(self, seeds: Sequence[int] | NDArray[np.int64], purpose: int = SEARCH) -> None:
        self.runs = len(seeds)
        self._keys = [(int(seed), purpose) for seed in seeds]
        self._philox = np.random.Philox(key=0)
        self._rng = np.random.Generator(self._philox)
        self._counter = 0
        self._expected = 0
        self._block = np.empty((self.runs, 0))
        self._next = 0

    def expect(self, count: int) -> None:
        """Say that a run will draw ``count`` uniforms, so that none are made in vain; what is drawn is the same."""
        self._expected = count

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Draw ``count`` uniforms in [0, 1) for every run: ``[runs, count]``."""
        start, self._next = self._next, self._next + count
        if self._next > self._block.shape[1]:
            self._refill(start, count)
            start, self._next = 0, count
        self._expected -= count
        return self._block[:, start : self._next]

    def _refill(self, start: int, count: int) -> None:
        """Make a block that begins with what is left of the last one and is good for ``count`` more."""
        rest = self._block[:, start:]
        left = rest.shape[1]
        ahead = min(self._expected, _MOST) if self._expected > 0 else _BLOCK if count < _WIDE else 0
        size = -(-max(count - left, ahead - left) // _PER_COUNT) * _PER_COUNT
        if count >= _WIDE:
            block = np.empty((self.runs, left + size))
            self._draw(block[:, left:], 0)
        else:
            block = np.empty((left + size, self.runs)).T
            some = np.empty((min(_RUNS, self.runs), size))  # turned over while it is in the processor's cache
            for first in range(0, self.runs, _RUNS):
                part = some[: min(_RUNS, self.runs - first)]
                self._draw(part, first)
                block[first : first + len(part), left:] = part
        block[:, :left] = rest
        self._counter += size // _PER_COUNT
        self._block = block

    def _draw(self, out: NDArray[np.float64], first: int) -> None:
        """Fill ``out`` ``[some runs, count]`` with the next doubles of the streams from run ``first`` on.

        ``count`` is a multiple of four.
        """
        inner: dict[str, Any] = {"counter": (self._counter, 0, 0, 0), "key": None}
        state: Any = {
            "bit_generator": "Philox",
            "state": inner,
            "buffer": (0,) * _PER_COUNT,
            "buffer_pos": _PER_COUNT,  # the buffer is used up: the next double comes from the counter
            "has_uint32": 0,
            "uinteger": 0,
        }
        philox, random = self._philox, self._rng.random
        for row, key in zip(out, self._keys[first : first + len(out)], strict=True):
            inner["key"] = key  # plain numbers are read twice as fast as arrays
            philox.state = state
            random(out=row)
