"""Searches that evaluate the best of a pool of candidates: the pool, and what was told. What such searches share."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.ridge import normal_scores
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import NOTHING, Algorithm, Task
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices

#: What the pool needs of a space: to be drawn from and moved in, and to know what was asked.
NEEDS = ("index", "neighbours")
#: What the settings that all such searches have mean.
MEANINGS = {
    "start": "random architectures to begin with; at least 1; {start}",
    "pool": "candidates a step, half of them mutants; at least 2; {pool}",
    "batch": "evaluations a step; 0 for a tenth of what is known, at least one; 0 to the pool; {batch}",
    "parents": "the best so far, which are mutated in turn; at least 1; {parents}",
}


class PoolSearch(Algorithm):
    """Evaluate random architectures first; then, until the budget ends, the best candidates of a pool drawn anew.

    The pool: mutants of the ``parents`` best architectures so far, in turn, and random ones. What a run has asked
    already, and what is known to break a limit, is no candidate; where a pool has too few, others are drawn uniformly
    from the rest of the space; a run that has asked for everything is finished. A subclass says what a candidate is
    worth, in `_worth`, and learns in `_learn`.
    """

    #: share of the pool that is mutants
    mutants = 0.5

    def __init__(self, task: Task, *, start: int, pool: int, batch: int, parents: int) -> None:
        super().__init__(task)
        for key, value, least in (("start", start, 1), ("pool", pool, 2), ("batch", batch, 0), ("parents", parents, 1)):
            if value < least or value > 1_000_000:
                raise UsageError(f"{self.name()}: {key} = {value}: expected {least} to 1,000,000")
        if batch > pool:
            raise UsageError(f"{self.name()}: batch = {batch}: expected at most the pool, {pool}")
        self._start, self._pool, self._batch, self._parents = start, pool, batch, parents
        self._rows = np.arange(self.runs)[:, None]
        #: what was told, in order: `NOTHING` and NaN where nothing was evaluated, or what was is known to break a limit
        self.ids = np.empty((self.runs, 0), dtype=np.int32)
        self.values = np.empty((self.runs, 0))
        everything = np.arange(self.space.size, dtype=np.int32)
        self._barred = task.excess(everything) > 0
        self._closed = np.tile(self._barred, (self.runs, 1))  # to be asked no more

    @classmethod
    def name(cls) -> str:
        """What messages call it."""
        return cls.__name__

    # -- to be written ---------------------------------------------------------------------------------------------

    def _worth(self, pool: Indices) -> Floats:
        """What evaluating each candidate is worth, float64 ``[runs, pool]``, higher is better; rounded."""
        raise NotImplementedError

    def _learn(self, ids: Indices, values: Floats) -> None:
        """Learn what was told ``[runs, k]``: `NOTHING` and NaN where there is nothing to learn."""

    # -- asking ----------------------------------------------------------------------------------------------------

    def ask(self) -> Asked:
        told = self.ids.shape[1]
        if told == 0:
            ids = self.task.start(self._start, self._first)
        else:
            pool, spare = self._candidates(), self.streams.uniform(self._count(told))
            worth = self._worth(pool)
            worth[self._closed[self._rows, pool] | repeated(pool)] = -np.inf
            best = np.argsort(-worth, axis=1, kind="stable")[:, : spare.shape[1]]
            good = np.take_along_axis(worth, best, axis=1) > -np.inf
            ids = self._filled(np.take_along_axis(pool, best, axis=1), good, spare)
        for slot in ids.T:
            self._closed[self._rows[slot >= 0, 0], slot[slot >= 0]] = True
        return ids

    def _count(self, told: int) -> int:
        """How many evaluations the next step makes."""
        return self._batch or min(max(told // 10, 1), max(self._pool // 5, 1))

    def _first(self) -> Indices:
        """Random architectures, different ones, that break no limit."""
        u = self.streams.uniform(self._start * (self.space.uniforms_per_sample + 1))
        ids = self.space.sample(u[:, self._start :].reshape(self.runs, self._start, -1))
        return self._filled(ids, ~(self._closed[self._rows, ids] | repeated(ids)), u[:, : self._start])

    def _candidates(self) -> Indices:
        """Mutants and random architectures, int32 ``[runs, pool]``."""
        mutants = round(self._pool * self.mutants)
        per_mutant, per_random = self.space.mutation_uniforms, self.space.uniforms_per_sample
        u = self.streams.uniform(mutants * per_mutant + (self._pool - mutants) * per_random)
        ranked = np.where(np.isnan(self.values), -np.inf, self.values)
        best = np.argsort(-ranked, axis=1, kind="stable")[:, : self._parents]
        parents = np.take_along_axis(self.ids, best, axis=1)[:, np.arange(mutants) % best.shape[1]]
        to_move, to_draw = np.split(u, [mutants * per_mutant], axis=1)
        moved = self.space.mutate(np.maximum(parents, 0), to_move.reshape(self.runs, mutants, per_mutant))
        drawn = self.space.sample(to_draw.reshape(self.runs, self._pool - mutants, per_random))
        return np.concatenate([moved, drawn], axis=1)

    def _filled(self, ids: Indices, good: NDArray[np.bool_], u: Floats) -> Indices:
        """``ids [runs, k]``, what is not ``good`` replaced by whatever is still open to the run, uniformly."""
        ids = np.where(good, ids, NOTHING).astype(np.int32)
        for row in np.flatnonzero(~good.all(axis=1)):
            free = ~self._closed[row]
            free[ids[row, good[row]]] = False
            left = np.flatnonzero(free)
            for slot in np.flatnonzero(~good[row])[: len(left)]:
                place = int(u[row, slot] * len(left))
                ids[row, slot], left = left[place], np.delete(left, place)
        return ids

    # -- being told ------------------------------------------------------------------------------------------------

    def tell(self, ids: Indices, values: Floats) -> None:
        known = ~np.isnan(values) & (ids >= 0)
        known &= ~self._barred[np.maximum(ids, 0)]
        ids, values = np.where(known, ids, NOTHING).astype(np.int32), np.where(known, values, np.nan)
        self.ids = np.concatenate([self.ids, ids], axis=1)
        self.values = np.concatenate([self.values, values], axis=1)
        self._learn(ids, values)


def repeated(ids: Indices) -> NDArray[np.bool_]:
    """Which of ``ids [runs, k]`` stand earlier in their row already."""
    order = np.argsort(ids, axis=1, kind="stable")
    ranked = np.take_along_axis(ids, order, axis=1)
    again = np.zeros(ids.shape, dtype=bool)
    again[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    found = np.empty_like(again)
    np.put_along_axis(found, order, again, axis=1)
    return found


def scores(values: Floats) -> Floats:
    """Normal scores of the ranks of values ``[runs, n]``, in which no outlier can dominate; 0 where there is NaN."""
    absent = np.isnan(values)
    found = np.zeros(values.shape)
    whole = ~absent.any(axis=1)
    found[whole] = normal_scores(values[whole])
    for row in np.flatnonzero(~whole):
        found[row, ~absent[row]] = normal_scores(values[row, ~absent[row]][None])[0]
    return found
