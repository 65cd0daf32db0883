"""AutoShrink with pooled evidence: every removal is decided by all evaluations of the run, not by a few fresh ones."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from nasharness.algorithms.autoshrink import CITATION
from nasharness.algorithms.autoshrink_set import sample_from
from nasharness.algorithms.shrinking import check, demotions, dense_start, descend, descent_draws, kept, penalty
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import NOTHING, Algorithm, Task, register
from nasharness.search.algorithm import Asked
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


@register(
    "autoshrink.pooled",
    citation=CITATION,
    needs=("product", "index", "ladder"),
    meanings={
        "theta": "prior variance of an interaction relative to one of an order less; at least 0; ours",
        "noise": "variance of a score's noise, in normal scores; more than 0; ours",
        "explore": "share of cells drawn uniformly from the survivors; 0 to 1; ours",
        "growth": "a step evaluates one growth-th of what is known; at least 1; ours",
        "cost_weight": "accuracy, as a fraction, given up per tenfold MACs; at least 0; as in autoshrink",
    },
)
class AutoShrinkPooled(Algorithm):
    """AutoShrink on sets of surviving choices, with removals decided by evidence pooled over all evaluations.

    First the full network and all it can be shrunk to by one removal. Then, again and again until the budget is spent:
    fit a ridge model with shrunken interactions to everything the run has paid for; shrink the set of all choices, one
    at a time, the one with the largest deficit to the best first, to a level drawn at random between a single cell and
    everything; evaluate new cells: of the set's survivors a share ``explore`` drawn uniformly, the rest those that the
    model predicts best. The answer is the evaluated cell with the best prediction. Re-opening the set after each
    shrinking is what spends a budget of any size. The dense start is a strong prior, as in ``autoshrink``.

    Settings: ``theta``: prior variance of an interaction relative to one of an order less. ``noise``: variance of a
    score's noise, in normal scores. ``explore``: share of cells drawn uniformly from the survivors. ``growth``: a step
    evaluates one ``growth``-th of what is known. ``cost_weight`` as in ``autoshrink``. Why evidence is pooled:
    docs/reproduction/autoshrink.md#t4; interactions and re-opening are ours.

    Under limits, what is known to break them is never evaluated; where the full network does, the first evaluations are
    networks that random removals reach first within the limits.
    """

    #: whether architectures that compute the same network share their evidence, with several objectives
    merges = False

    def __init__(
        self,
        task: Task,
        *,
        theta: float = 0.3,
        noise: float = 0.1,
        explore: float = 0.3,
        growth: float = 5.0,
        cost_weight: float = 0.0,
    ) -> None:
        super().__init__(task)
        check("theta", theta, least=0)
        check("growth", growth, least=1)
        if not noise > 0:
            raise UsageError(f"autoshrink: noise = {noise}: expected more than 0")
        if not 0 <= explore <= 1:
            raise UsageError(f"autoshrink: explore = {explore}: expected 0 to 1")
        self._explore, self._growth = explore, growth
        self._penalty = penalty(self.space, task.dataset, cost_weight)
        self._model = PooledModel(self.space, theta, noise, self.merges and task.several)
        self._ids = np.empty((self.runs, 0), dtype=np.int32)
        self._values = np.empty((self.runs, 0))
        self._excess = task.excess(np.arange(self.space.size, dtype=np.int32))
        self._allowed = kept(self.space, self._excess)
        self._barred = ~self._allowed[self._model.index]  # by cell of the grid: known to break a limit
        self._asked = np.tile(self._barred, (self.runs, 1))  # and what was asked
        sizes = np.array(self.space.sizes)
        options = np.arange(sizes.max()) < sizes[:, None]
        self._alive = np.broadcast_to(options, (self.runs, *options.shape)).copy()

    def surviving(self) -> NDArray[np.bool_]:
        """Choices that the latest shrinking left, before the set was opened again: ``[runs, positions, options]``."""
        return self._alive

    def ask(self) -> Asked:
        told = self._ids.shape[1]
        left = int(self._allowed.sum()) - told
        if told == 0:
            ids = self.task.start(1 + sum(self.space.sizes) // 2, self._first)
        else:
            ids = self._next(min(max(1, int(told / self._growth)), left))
        np.put_along_axis(self._asked, self._model.cell[ids], True, axis=1)
        return ids

    def _first(self) -> Indices:
        """The full network, then its single removals in random order.

        Where the full network breaks a limit, as many that are as full as the limits let them be.
        """
        start, smaller = dense_start(self.space), demotions(self.space, keep_path=True)
        removals = smaller[start][smaller[start] >= 0]
        if not self._allowed[start]:
            return self._fullest(start, smaller, min(1 + len(removals), int((~self._asked[0]).sum())))
        removals = removals[self._allowed[removals]]
        order = np.argsort(self.streams.uniform(len(removals)), axis=1, kind="stable")
        full = np.full((self.runs, 1), start, dtype=np.int32)
        return np.concatenate([full, removals[order]], axis=1).astype(np.int32)

    def _fullest(self, start: int, smaller: Indices, count: int) -> Indices:
        """What ``count`` random descents reach first that keeps the limits; of equals all but one drawn uniformly."""
        draws = descent_draws(self.space)
        u = self.streams.uniform(count * (draws + 1)).reshape(self.runs, count, draws + 1)
        ids = descend(start, smaller, self._allowed, self._excess, u[..., :-1])[1]
        taken = self._asked[:, self._model.cell]
        for slot in range(count):
            for run in np.flatnonzero(taken[np.arange(self.runs), ids[:, slot]]):
                left = np.flatnonzero(~taken[run])
                ids[run, slot] = left[int(u[run, slot, -1] * len(left))]
            taken[np.arange(self.runs), ids[:, slot]] = True
        return ids

    def _next(self, k: int) -> Indices:
        if k == 0:
            return np.full((self.runs, 1), NOTHING, dtype=np.int32)
        positions, choices = len(self.space.sizes), sum(self.space.sizes)
        u = self.streams.uniform(1 + k * (1 + positions))
        level = positions + (u[:, 0] * (choices + 1 - positions)).astype(np.intp)
        uniform = u[:, 1 : 1 + k] < self._explore
        ids = np.empty((self.runs, k), dtype=np.int32)
        for rows, predicted in self._model.predict(self._ids, self._values):
            if self._barred.any():
                predicted[:, self._barred] = predicted.min(axis=1, keepdims=True) - 1
            alive = self._alive[rows] = self._model.survivors(predicted, level[rows])
            drawn = sample_from(self.space, alive[:, None], u[rows, 1 + k :].reshape(-1, k, positions))
            ids[rows] = self._choose(predicted, drawn, uniform[rows], self._asked[rows])
        return ids

    def _choose(
        self, predicted: Floats, drawn: Indices, uniform: NDArray[np.bool_], asked: NDArray[np.bool_]
    ) -> Indices:
        """Fill ``k`` slots ``[some, k]`` with new cells: those ``drawn`` where ``uniform``, else the best predicted."""
        k = drawn.shape[1]
        rows = np.arange(len(drawn))
        taken = asked.copy()
        ids = np.full(drawn.shape, NOTHING, dtype=np.int32)
        for slot in range(k):  # a cell that is known, or drawn twice, leaves its slot to the prediction
            cell = self._model.cell[drawn[:, slot]]
            new = uniform[:, slot] & ~taken[rows, cell]
            ids[new, slot] = drawn[new, slot]
            taken[rows[new], cell[new]] = True
        predicted[taken] = -np.inf
        cut = np.partition(predicted, -k, axis=1)[:, -k, None]
        for row in rows:
            # of equal predictions the first in the grid, whatever order a partition leaves them in
            better = np.flatnonzero(predicted[row] >= cut[row])
            best = better[np.argsort(-predicted[row, better], kind="stable")]
            empty = np.flatnonzero(ids[row] == NOTHING)
            ids[row, empty] = self._model.index[best[: len(empty)]]
        return ids

    def tell(self, ids: Indices, values: Floats) -> None:
        # what was not evaluated is NaN, in runs that have ended: `recommend` leaves it out
        self._ids = np.concatenate([self._ids, ids], axis=1)
        self._values = np.concatenate([self._values, values - self._penalty[ids]], axis=1)

    def recommend(self, rows: NDArray[np.intp]) -> Indices:
        answers = np.full(len(rows), NOTHING, dtype=np.int32)
        if self.task.exact and not self._penalty.any():  # no prediction knows better than a signal without noise
            return answers
        counts = (~np.isnan(self._values[rows])).sum(axis=1)
        for count in np.unique(counts):  # runs that ended within a step have told less than the others
            same = np.flatnonzero(counts == count)
            kept = ~np.isnan(self._values[rows[same]])
            ids = self._ids[rows[same]][kept].reshape(len(same), count)
            values = self._values[rows[same]][kept].reshape(len(same), count)
            for some, predicted in self._model.predict(ids, values):
                known = np.take_along_axis(predicted, self._model.cell[ids[some]], axis=1)
                best = known.argmax(axis=1)
                answers[same[some]] = ids[some][np.arange(len(best)), best]
        return answers


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
