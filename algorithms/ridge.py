"""A ridge model of all choices and their interactions, which predicts a whole product space at once."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from nasharness.spaces.base import Floats, Indices, Space

#: Runs whose models are computed together: few, so that their arrays stay in the processor's cache.
_CHUNK = 16
#: Evaluations that enter a model at most, the best: its cost grows with their cube, and the rest are far from the top.
_EVIDENCE = 1_000
#: Decimals of a prediction that count. What lies behind differs between processors' matrix products.
_DECIMALS = 6


class PooledModel:
    """Ridge regression on all choices and on all their interactions, pooled over every evaluation of a run.

    The prior variance of a main effect is ``theta``, of a pair ``theta**2``, of a triple ``theta**3`` (relative to the
    mean's), independent of each other: evidence moves main effects first and interactions only as far as it must. Such
    a ridge has the kernel ``prod_e (1 + theta * [a_e = b_e])`` over positions e, so that it costs the same however many
    interactions there are, and its prediction for *every* architecture is one multiplication by a small matrix along
    each axis of the grid of choices. Widths (ordered options) share evidence with their neighbours: ``[a = b]`` becomes
    ``exp(-|a - b| / 2)``. Scores enter as normal scores of their ranks, which no outlier can dominate.

    ``merge``: whether architectures that compute the same network share their evidence and their prediction, those of
    the one among them that leaves most out.
    """

    def __init__(self, space: Space, theta: float, noise: float, merge: bool = False) -> None:
        self._noise = noise
        self._sizes = space.sizes
        factors = []
        for options in space.sizes:
            distance = np.abs(np.subtract.outer(np.arange(options), np.arange(options)))
            alike = np.exp(-distance / 2) if space.ordinal else distance == 0
            factors.append((1 + theta * alike) / (1 + theta))
        # neighbouring axes are merged in pairs: fewer and larger matrix products
        pairs = [factors[first : first + 2] for first in range(0, len(factors), 2)]
        self._axes = [functools.reduce(np.kron, pair) for pair in pairs]
        choices = space.choices(np.arange(space.size))
        #: position of every index in the grid of choices ``[n]``, and back
        self.cell = np.ravel_multi_index(tuple(choices.T.astype(np.intp)), space.sizes)
        self.index = np.argsort(self.cell).astype(np.int32)
        #: the architecture that stands for each ``[n]``
        self.same = simplest(space) if merge else np.arange(space.size, dtype=np.int32)
        self._read = self.cell[self.same[self.index]] if merge else None
        # log kernel of two architectures = onehot(a) @ blocks @ onehot(b)
        self._onehot = np.concatenate([np.eye(o)[choices[:, e]] for e, o in enumerate(space.sizes)], 1)
        self._blocks = np.zeros((sum(space.sizes),) * 2)
        start = 0
        for factor in factors:
            stop = start + len(factor)
            self._blocks[start:stop, start:stop] = np.log(factor)
            start = stop

    def predict(self, ids: Indices, values: Floats) -> Iterator[tuple[slice, Floats]]:
        """Predict the normal scores of all cells of the grid from what was told: ``ids``, ``values`` ``[runs, told]``.

        Yields a few runs at a time, as their slice and float64 ``[some, n]``: all at once would fill the memory.
        """
        scores, ids = normal_scores(values), self.same[ids]
        if ids.shape[1] > _EVIDENCE:
            best = np.argsort(-scores, axis=1, kind="stable")[:, :_EVIDENCE]
            ids, scores = np.take_along_axis(ids, best, axis=1), np.take_along_axis(scores, best, axis=1)
        runs, told = ids.shape
        for first in range(0, runs, _CHUNK):
            rows = slice(first, min(first + _CHUNK, runs))
            grid = np.zeros((rows.stop - first, len(self.index)))
            for row, weights in enumerate(self._weights(ids[rows], scores[rows])):
                np.add.at(grid[row], self.cell[ids[first + row]], weights)
            predicted = np.round(self._smooth(grid), _DECIMALS)
            yield rows, predicted if self._read is None else predicted[:, self._read]

    def _weights(self, ids: Indices, scores: Floats) -> Iterator[Floats]:
        """Solve each run's kernel system: float64 ``[told]`` a run."""
        told = ids.shape[1]
        for run in range(len(ids)):
            onehot = self._onehot[ids[run]]
            kernel = np.exp(onehot @ self._blocks @ onehot.T)
            kernel[np.arange(told), np.arange(told)] += self._noise
            yield np.linalg.solve(kernel, scores[run])

    def _smooth(self, grid: Floats) -> Floats:
        """Multiply every axis of the grid ``[runs, n]`` by its factor of the kernel, each run by itself."""
        runs, before = len(grid), 1
        for axis in self._axes:
            before *= len(axis)
            if before == grid.shape[1]:
                grid = grid.reshape(runs, -1, len(axis)) @ axis
            else:
                grid = axis @ grid.reshape(runs, before // len(axis), len(axis), -1)
        return grid.reshape(runs, -1)

    def survivors(self, predicted: Floats, level: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Shrink the full set until ``level`` choices are left ``[runs]``: bool ``[runs, positions, options]``.

        A choice is worth the best cell that still contains it. Dropping the worst choice never lowers the worth of a
        better one, since the latter's best cell cannot contain the former; so shrinking one choice at a time ends
        with just the ``level`` best choices (more where several share their best cell, and so their worth), and the
        model's best cell always survives.
        """
        runs, positions = len(predicted), len(self._sizes)
        worth = np.full((runs, positions, max(self._sizes)), -np.inf)
        half = positions // 2  # the best over each half of the positions first: two passes over the grid serve all
        halves = predicted.reshape(runs, int(np.prod(self._sizes[:half])), -1)
        parts = ((0, self._sizes[:half], halves.max(axis=2)), (half, self._sizes[half:], halves.max(axis=1)))
        for first, sizes, best in parts:
            for position, options in enumerate(sizes):
                before = int(np.prod(sizes[:position]))
                worth[:, first + position, :options] = best.reshape(runs, before, options, -1).max(axis=(1, 3))
        flat = np.sort(worth.reshape(runs, -1), axis=1)[:, ::-1]
        alive: NDArray[np.bool_] = worth >= flat[np.arange(runs), level - 1][:, None, None]
        return alive


def normal_scores(values: Floats) -> Floats:
    """Normal scores of ranks along the last axis: equal values share the mean of theirs; NaN counts as the worst."""
    told = values.shape[1]
    order = np.argsort(np.where(np.isnan(values), -np.inf, values), axis=1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=1)
    starts = np.ones(ranked.shape, dtype=bool)
    starts[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    group = np.cumsum(starts, axis=1) - 1 + np.arange(len(values))[:, None] * told
    table = np.broadcast_to(_quantiles(told), ranked.shape)
    total = np.bincount(group.ravel(), weights=table.ravel(), minlength=values.size)
    count = np.bincount(group.ravel(), minlength=values.size)
    shared = (total[group] / count[group]).reshape(ranked.shape)
    scores = np.empty(values.shape)
    np.put_along_axis(scores, order, shared, axis=1)
    return scores


def simplest(space: Space) -> Indices:
    """Of all architectures that compute the same network as each, the one that leaves most out: int32 ``[n]``."""
    everything = np.arange(space.size, dtype=np.int32)
    if space.skeleton is None:
        return everything
    absent = (space.choices(everything) == space.skeleton.absent).sum(axis=1)
    classes = space.canonical(everything)
    order = np.lexsort((everything, -absent, classes))
    found = np.empty_like(everything)
    found[classes[order][::-1]] = order[::-1]  # of equal classes the last written, the first in the order, stays
    return found[classes]


@functools.lru_cache(maxsize=4096)
def _quantiles(count: int) -> Floats:
    normal = NormalDist()
    return np.array([normal.inv_cdf((rank + 0.5) / count) for rank in range(count)])
