"""Local search: climb to the best neighbour until there is none better, then start elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasharness import fronts
from nasharness.errors import UsageError, unknown
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import NOTHING, Asked
from nasharness.spaces.base import Floats, Indices

MOVES = ("first", "best")


@register(
    "local-search",
    needs=("index", "neighbours", "objectives"),
    learns_after="starts",
    citation="White et al., Exploring the Loss Landscape in Neural Architecture Search, UAI 2021 (arXiv 2005.02960)",
    meanings={
        "move": "to the first better neighbour (of several objectives: that dominates), or to the best of all; first "
        "or best; ours (White et al.: best)",
        "starts": "random architectures, the best of which begins a climb; at least 1; ours (White et al.: 1)",
    },
)
class LocalSearch(Algorithm):
    """Hill climbing over neighbours in random order, started afresh at every local optimum.

    A climb begins at the best of ``starts`` random architectures. Its neighbours (one position changed) that this run
    has not evaluated are evaluated in random order. ``move`` = ``first``: move to the first that is better;
    ``best``: evaluate them all, then move to the best, if it is better. Where none is, the climb has ended and a new
    one begins. No run evaluates an architecture twice; one that has evaluated its whole space is finished.

    Of several objectives this is Pareto local search (Paquete, Chiarandini and Stuetzle, Pareto Local Optimum Sets in
    the Biobjective Traveling Salesman Problem, 2004): the neighbourhoods of members of the run's front are evaluated
    one after the other, the members drawn at random; with ``first`` the climb leaves for the first neighbour that
    dominates. When those of all members are used up, a new start comes.

    The defaults were chosen on 12-epoch validation of tss at 25 to 1,000 evaluations: ``first`` beat ``best``, which
    evaluates whole neighbourhoods as White et al. do, at every budget; 10 starts beat 1 and 5, and 20 are as good.
    (docs/reproduction/multi-trial.md#not-in-that-comparison)
    """

    def __init__(self, task: Task, *, move: str = "first", starts: int = 10) -> None:
        super().__init__(task)
        if move not in MOVES:
            raise unknown("local-search: move", move, MOVES)
        if starts < 1:
            raise UsageError(f"local-search: starts = {starts}: expected at least 1")
        self._first = move == "first"
        self._starts = starts
        self._rows = np.arange(self.runs)
        self._seen = np.zeros((self.runs, self.space.size), dtype=bool)
        self._left = np.full(self.runs, starts)  # random architectures to come before this climb begins
        self._centre = np.zeros(self.runs, dtype=np.int32)
        self._height = np.full(self.runs, -np.inf)  # signal of the centre
        self._best = np.zeros(self.runs, dtype=np.int32)  # the best since the centre was reached
        self._best_height = np.full(self.runs, -np.inf)
        # of several objectives: all that was evaluated, whether its neighbourhood was begun, and whose centre is none
        self._ids = np.empty((self.runs, 0), dtype=np.int32)
        self._values = np.empty((self.runs, 0, len(task.objectives)))
        self._begun = np.empty((self.runs, 0), dtype=bool)
        self._lost = np.ones(self.runs, dtype=bool)
        self._start = task.start(starts, lambda: task.nothing)
        self._left[:] = self._start.shape[1] or starts

    def ask(self) -> Asked:
        if self._start.shape[1]:
            ids, self._start = self._start[:, 0], self._start[:, 1:]
            self._seen[self._rows, ids] = True
            return ids[:, None]
        if self.task.several:
            u = np.ascontiguousarray(self.streams.uniform(4).T)
            used_up = (self._left == 0) & (self._lost | ~self._unseen_neighbours().any(axis=1))
            for row in np.flatnonzero(used_up):
                self._next_member(int(row), u[3, row])
            return self._asked(u, self._unseen_neighbours())
        u = np.ascontiguousarray(self.streams.uniform(3).T)
        fresh = self._unseen_neighbours()
        count = fresh.sum(axis=1)
        # a neighbourhood is used up: go to the best of it, or start a new climb
        used_up = (self._left == 0) & (count == 0)
        moves = used_up & (self._best_height > self._height)
        self._move(moves)
        fresh[moves] = self._unseen_neighbours()[moves] if moves.any() else False
        count = fresh.sum(axis=1)
        ends = (self._left == 0) & (count == 0)
        self._left[ends] = self._starts
        self._height[ends] = self._best_height[ends] = -np.inf
        return self._asked(u, fresh)

    def _asked(self, u: Floats, fresh: NDArray[np.bool_]) -> Indices:
        """A random one of the ``fresh`` neighbours, or of all that is unseen before a climb begins: ``[runs, 1]``."""
        count = fresh.sum(axis=1)
        starting = self._left > 0
        pick = (u[0] * count).astype(np.intp)
        slot = (np.cumsum(fresh, axis=1) > pick[:, None]).argmax(axis=1)
        neighbour = self.space.neighbours(self._centre)[self._rows, slot]
        ids = np.where(starting, self._unseen(u[1], u[2], starting), neighbour)
        self._seen[self._rows, ids] = True  # NOTHING marks the last column of a run that has seen them all
        asked: Indices = ids[:, None]
        return asked

    def tell(self, ids: Indices, values: Floats) -> None:
        if self.task.several:
            self._tell_front(ids, values)
            return
        better = values[:, 0] > self._best_height  # False for NaN
        self._best[better] = ids[better, 0]
        self._best_height[better] = values[better, 0]
        starting = self._left > 0
        self._left[starting] -= 1
        begins = starting & (self._left == 0)
        self._move(begins | (better & ~starting) if self._first else begins)

    def _tell_front(self, ids: Indices, values: Floats) -> None:
        known = (self._ids == self._centre[:, None]).argmax(axis=1) if self._ids.shape[1] else self._rows * 0
        self._ids = np.concatenate([self._ids, ids], axis=1)
        self._values = np.concatenate([self._values, values], axis=1)
        self._begun = np.concatenate([self._begun, np.zeros_like(ids, dtype=bool)], axis=1)
        starting = self._left > 0
        self._left[starting] -= 1
        if self._first:
            of_centre, mine = self._values[self._rows, known], values[:, 0]
            better = (mine >= of_centre).all(axis=1) & (mine > of_centre).any(axis=1)  # False for NaN
            moves = better & ~starting & ~self._lost
            self._centre[moves] = ids[moves, 0]
            self._begun[moves, -1] = True

    def _next_member(self, row: int, u: float) -> None:
        """Make a random member of the run's front the centre, of those whose neighbours are unseen; else start anew."""
        front = np.flatnonzero(fronts.non_dominated(-self._values[row]) & ~self._begun[row])
        while len(front):
            place = int(u * len(front))
            self._begun[row, front[place]] = True
            self._centre[row] = self._ids[row, front[place]]
            self._lost[row] = False
            if not self._seen[row, self.space.neighbours(self._centre[row])].all():
                return
            front = np.delete(front, place)
        self._lost[row] = True
        self._left[row] = self._starts

    def _move(self, rows: NDArray[np.bool_]) -> None:
        """Make the best found the centre."""
        self._centre[rows] = self._best[rows]
        self._height[rows] = self._best_height[rows]

    def _unseen_neighbours(self) -> NDArray[np.bool_]:
        """Which neighbours of the centre are unseen, none before a climb begins: bool ``[runs, neighbours]``."""
        fresh = ~self._seen[self._rows[:, None], self.space.neighbours(self._centre)]
        fresh[self._left > 0] = False
        return fresh

    def _unseen(self, u: Floats, v: Floats, rows: NDArray[np.bool_]) -> Indices:
        """A uniformly random architecture that the run has not evaluated, for ``rows``; NOTHING where there is none."""
        ids = self.space.sample_index(u)
        for row in np.flatnonzero(rows & self._seen[self._rows, ids]):  # rare, until most of the space is seen
            left = np.flatnonzero(~self._seen[row])
            ids[row] = left[int(v[row] * len(left))] if len(left) else NOTHING
        return ids
