"""Local search: climb to the best neighbour until there is none better, then start elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import UsageError, unknown
from nasharness.search import Algorithm, Task, register
from nasharness.search.algorithm import NOTHING, Asked
from nasharness.spaces.base import Floats, Indices

MOVES = ("first", "best")


@register(
    "local-search",
    needs=("index", "neighbours"),
    learns_after="starts",
    citation="White et al., Exploring the Loss Landscape in Neural Architecture Search, UAI 2021 (arXiv 2005.02960)",
    meanings={
        "move": "to the first better neighbour, or to the best of all; first or best; ours (White et al.: best)",
        "starts": "random architectures, the best of which begins a climb; at least 1; ours (White et al.: 1)",
    },
)
class LocalSearch(Algorithm):
    """Hill climbing over neighbours in random order, started afresh at every local optimum.

    A climb begins at the best of ``starts`` random architectures. Its neighbours (one position changed) that this run
    has not evaluated are evaluated in random order. ``move`` = ``first``: move to the first that is better;
    ``best``: evaluate them all, then move to the best, if it is better. Where none is, the climb has ended and a new
    one begins. No run evaluates an architecture twice; one that has evaluated its whole space is finished.

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
        self._start = task.start(starts, lambda: task.nothing)
        self._left[:] = self._start.shape[1] or starts

    def ask(self) -> Asked:
        if self._start.shape[1]:
            ids, self._start = self._start[:, 0], self._start[:, 1:]
            self._seen[self._rows, ids] = True
            return ids[:, None]
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

        starting = self._left > 0
        pick = (u[0] * count).astype(np.intp)
        slot = (np.cumsum(fresh, axis=1) > pick[:, None]).argmax(axis=1)
        neighbour = self.space.neighbours(self._centre)[self._rows, slot]
        ids = np.where(starting, self._unseen(u[1], u[2], starting), neighbour)
        self._seen[self._rows, ids] = True  # NOTHING marks the last column of a run that has seen them all
        return ids[:, None]

    def tell(self, ids: Indices, values: Floats) -> None:
        better = values[:, 0] > self._best_height  # False for NaN
        self._best[better] = ids[better, 0]
        self._best_height[better] = values[better, 0]
        starting = self._left > 0
        self._left[starting] -= 1
        begins = starting & (self._left == 0)
        self._move(begins | (better & ~starting) if self._first else begins)

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
