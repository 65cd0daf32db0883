"""AutoShrink by sets: the literal transfer to a table, kept as the ablation that shows its defect."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.autoshrink import CITATION
from nasharness.algorithms.shrinking import Shrinker, check, sample_without_replacement
from numpy.typing import NDArray

from nasharness.search import NOTHING, PAUSE, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices, Space


class Survivors:
    """Sets of surviving choices, one set a position: bool ``[runs, positions, options]``."""

    def __init__(self, space: Space, runs: int) -> None:
        width = max(space.sizes)
        self.space = space
        self.alive = np.broadcast_to(
            np.arange(width) < np.array(space.sizes)[:, None], (runs, len(space.sizes), width)
        ).copy()
        self._flat = self.alive.reshape(runs, -1)

    def removable(self) -> NDArray[np.bool_]:
        """Choices whose position would keep at least one: ``[runs, positions * options]``."""
        return (self.alive & (self.alive.sum(axis=2, keepdims=True) > 1)).reshape(len(self.alive), -1)

    def remove(self, slots: NDArray[np.intp]) -> None:
        """Remove one choice of every run, ``[runs]``; -1 leaves a run as it is."""
        rows = np.flatnonzero(slots >= 0)
        self._flat[rows, slots[rows]] = False

    def without(self, slots: NDArray[np.intp]) -> NDArray[np.bool_]:
        """What each of the removals ``[runs, k]`` would leave: ``[runs, k, positions, options]``."""
        left = np.repeat(self._flat[:, None], slots.shape[1], axis=1)
        run, k = np.nonzero(slots >= 0)
        left[run, k, slots[run, k]] = False
        return left.reshape(*slots.shape, *self.alive.shape[1:])

    def single(self) -> Indices:
        """The only architecture left, -1 where there are several: ``[runs]``."""
        return np.where((self.alive.sum(axis=2) == 1).all(axis=1), self.space.index(self.alive.argmax(axis=2)), NOTHING)


def sample_from(space: Space, alive: NDArray[np.bool_], u: Floats) -> Indices:
    """Draw uniformly from sets: ``alive [..., positions, options]``, ``u [..., positions]`` -> indices ``[...]``."""
    rank = (u * alive.sum(axis=-1)).astype(np.intp)
    choices = (np.cumsum(alive, axis=-1) == rank[..., None] + 1).argmax(axis=-1)
    return space.index(choices)


@register(
    "autoshrink.set",
    citation=CITATION,
    needs=("product", "index"),
    meanings={
        "k": "removals scored a step; 1 to 1,000; the official code's",
        "samples": "cells drawn to score a removal; 1 to 1,000; ours",
        "cost_weight": "accuracy, as a fraction, given up per tenfold MACs; at least 0; as in autoshrink",
    },
)
class AutoShrinkSet(Shrinker):
    """AutoShrink on sets of surviving choices, literally: a removal is scored by cells sampled from what it leaves.

    Starts from all options everywhere. A step draws ``k`` removable choices without replacement, scores each by the
    mean of ``samples`` cells drawn uniformly from the sets without it, and removes the choice that leaves the best
    mean, until one cell is left: the answer, or, where the
    signal has no noise, the best scored. Candidates differ less than the sampling noise, so that at one sample it
    is worse than random search at equal cost (docs/reproduction/autoshrink.md#t1): an ablation, not a
    recommendation. ``cost_weight`` as in ``autoshrink``. No run pays twice for a cell.
    """

    def __init__(self, task: Task, *, k: int = 10, samples: int = 1, cost_weight: float = 0.0) -> None:
        super().__init__(task, cost_weight=cost_weight)
        check("k", k, least=1, most=1_000)
        check("samples", samples, least=1, most=1_000)
        self._k, self._samples = k, samples
        self._sets = Survivors(self.space, self.runs)
        self._steps_left = sum(self.space.sizes) - len(self.space.sizes)
        self._start = task.start(0, lambda: task.nothing)

    def surviving(self) -> NDArray[np.bool_]:
        """Choices that are left: ``[runs, positions, options]``."""
        return self._sets.alive

    def ask(self) -> Asked:
        if self._start.shape[1]:
            return self._start
        if self._steps_left == 0:
            return np.full((self.runs, 1), NOTHING, dtype=np.int32)
        removable = self._sets.removable()
        self._removals = sample_without_replacement(self.streams.uniform(removable.shape[1]), removable, self._k)
        shape = (*self._removals.shape, self._samples, len(self.space.sizes))
        u = self.streams.uniform(int(np.prod(shape[1:]))).reshape(shape)
        left = self._sets.without(self._removals)[:, :, None]
        cells = np.where(self._removals[..., None] >= 0, sample_from(self.space, left, u), NOTHING)
        self._cells = cells.reshape(self.runs, -1)
        new = self.unknown(self._cells)
        ids = np.where(new, self._cells, NOTHING)
        ids[~new.any(axis=1), 0] = PAUSE
        return ids

    def tell(self, ids: Indices, values: Floats) -> None:
        if self._steps_left == 0:
            return
        self.learn(ids, values)
        if self._start.shape[1]:
            self.record(ids, self.score(ids))
            self._start = self._start[:, :0]
            return
        scores = self.score(self._cells)
        self.record(self._cells, scores)
        means = scores.reshape(*self._removals.shape, self._samples).mean(axis=2)
        ranked = np.where(np.isnan(means), -np.inf, means)
        best = np.lexsort((self.streams.uniform(ranked.shape[1]), -ranked), axis=-1)[:, :1]
        self._sets.remove(np.take_along_axis(self._removals, best, axis=1)[:, 0])
        self._steps_left -= 1

    def recommend(self, rows: NDArray[np.intp]) -> Indices:
        if self.task.exact:  # nothing that was paid for can be better than it scored
            return self._best_id[rows]
        last = self._sets.single()
        return np.where(last >= 0, last, self._best_id)[rows]
