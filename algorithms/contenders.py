"""Which of a few architectures is the best, from values that are noisy: where to look again, and what to answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasharness.search import NOTHING
from nasharness.spaces.base import Floats, Indices

#: The part of the contenders' variance that is taken to be between architectures, at least.
_LEAST = 0.25
#: How many repeats the belief is worth that noise is as large as the contenders' spread.
_BELIEF = 2


class Contenders:
    """Architectures of each run that may be its best, and what they are believed to be worth.

    A value is an architecture's worth and noise; worths are normal with the mean and the variance that the contenders
    show (empirical Bayes), so that the luck of a single value is discounted. ``ids [some, m]``; ``mean``, ``count`` of
    each one's values, NaN where there is none; ``squares``, ``repeats [some]``: squared deviations of repeated values
    from their means, and how many were repeats.
    """

    def __init__(
        self, ids: Indices, mean: Floats, count: NDArray[np.int64], squares: Floats, repeats: NDArray[np.int64]
    ) -> None:
        self._ids, self._count = ids, count.copy()
        known = ~np.isnan(mean)
        number = known.sum(axis=1, keepdims=True)
        self._centre = np.where(known, mean, 0.0).sum(axis=1, keepdims=True) / number
        self._off = np.where(known, mean - self._centre, -np.inf)
        spread = (np.where(known, self._off, 0.0) ** 2).sum(axis=1, keepdims=True) / number
        self._noise = (squares[:, None] + _BELIEF * spread) / (repeats[:, None] + _BELIEF)
        error = np.where(known, self._noise / np.maximum(count, 1), 0.0).sum(axis=1, keepdims=True) / number
        self._between = np.maximum(spread - error, _LEAST * spread)

    def _believed(self) -> tuple[Floats, Floats]:
        """Expected worth, relative to the mean of all, and its standard deviation: two ``[some, m]``."""
        error = self._noise / np.maximum(self._count, 1)
        total = self._between + error
        trust = np.divide(self._between, total, out=np.ones_like(total), where=total > 0)
        return trust * self._off, np.sqrt(trust * error)

    def best(self) -> Indices:
        """The one with the greatest expected worth: ``[some]``."""
        return self._ids[np.arange(len(self._ids)), self._believed()[0].argmax(axis=1)]

    def race(self, k: int) -> Indices:
        """What to evaluate again, ``[some, k]``: those that are in the race in turn, the least evaluated first.

        In the race is who may be as good as the leader, by one standard deviation of each; so the fewer are left, the
        more each is evaluated, as in sequential halving (Karnin, Koren & Somekh, Almost Optimal Exploration in
        Multi-Armed Bandits, ICML 2013). Once one is left the race is decided, and the rest is NOTHING.
        """
        rows = np.arange(len(self._ids))
        found = np.empty((len(rows), k), dtype=np.int32)
        for slot in range(k):
            worth, deviation = self._believed()
            racing = worth + deviation >= (worth - deviation).max(axis=1, keepdims=True)
            place = np.lexsort((-worth, self._count, ~racing), axis=1)[:, 0]
            found[:, slot] = np.where(racing.sum(axis=1) > 1, self._ids[rows, place], NOTHING)
            self._count[rows, place] += racing.sum(axis=1) > 1
        return found
