"""WeakNAS: weak predictors, one after the other, each of the part of the space that the last one thought good."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.candidates import MEANINGS, PoolSearch, scores
from nasharness.algorithms.ensembles import best_evidence
from nasharness.algorithms.gaussian import chunks

from nasharness.errors import UsageError
from nasharness.search import Task, register
from nasharness.spaces.base import Floats, Indices
from nasharness.spaces.product import product


@register(
    "weaknas",
    citation="Wu et al., Stronger NAS with Weaker Predictors, NeurIPS 2021; https://github.com/VITA-Group/WeakNAS",
    needs=("product", "index", "neighbours"),
    learns_after="start",
    variants={"paper": ("WeakNAS with its code's settings: 100 random ones first", {"start": 100})},
    meanings={
        "theta": "prior variance of an interaction over that of one of an order less; above 0 to 1e6; ours",
        "noise": "variance of a score's noise, relative to the prior's; 0.000001 to 1,000,000; ours",
        "start": MEANINGS["start"].format(start="ours (Wu et al.: 100)"),
        "pool": "the best predicted of the whole space, of which a step evaluates some; at least 2; Wu et al.",
        "batch": MEANINGS["batch"].format(batch="Wu et al."),
    },
)
class WeakNas(PoolSearch):
    """WeakNAS, coarse to fine: fit a weak predictor, evaluate a few of what it thinks best, fit the next one.

    Each step fits a predictor to everything the run has paid for, ranks the whole space with it, and evaluates
    ``batch`` architectures drawn uniformly from the ``pool`` best that it has not evaluated. So the part of the space
    in which it samples narrows, and each predictor has to be good there only.

    What differs from the paper: its predictors are perceptrons, boosted trees or forests; this one is ridge regression
    on choices and all their interactions, whose predictions of a whole product space are a sum along each axis.
    """

    def __init__(
        self,
        task: Task,
        *,
        theta: float = 0.3,
        noise: float = 0.1,
        start: int = 10,
        pool: int = 100,
        batch: int = 10,
    ) -> None:
        super().__init__(task, start=start, pool=pool, batch=batch, parents=1)
        if not 0 < theta <= 1e6:
            raise UsageError(f"weaknas: theta = {theta}: expected more than 0, at most 1,000,000")
        if not 1e-6 <= noise <= 1e6:
            raise UsageError(f"weaknas: noise = {noise}: expected 0.000001 to 1,000,000")
        self._apart, self._noise = 1 / (1 + theta), noise
        space = product(self.space)
        choices = space.choices(np.arange(space.size)).astype(np.intp)
        #: place of each index in the grid of choices
        self._cell = np.ravel_multi_index(tuple(choices.T), space.sizes)

    @classmethod
    def name(cls) -> str:
        return "weaknas"

    def _candidates(self) -> Indices:
        """The best predicted that are open to the run, the first of equals: ``[runs, pool]``, the open ones first."""
        size = min(self._pool, self.space.size)
        found = np.empty((self.runs, size), dtype=np.int32)
        ids, values = best_evidence(self.ids, self.values)
        y = scores(values)
        for rows in chunks(self.runs):
            predicted = self.predict(ids[rows], y[rows])
            predicted[self._closed[rows]] = -np.inf
            cut = np.partition(predicted, -size, axis=1)[:, -size]
            for place, row in enumerate(range(self.runs)[rows]):
                better = np.flatnonzero(predicted[place] >= cut[place])
                found[row] = better[np.argsort(-predicted[place, better], kind="stable")[:size]]
        return found

    def predict(self, ids: Indices, y: Floats) -> Floats:
        """Predict every architecture from scores ``y`` of ``ids [some, n]``: float64 ``[some, size]``, rounded."""
        known, seen = ids >= 0, np.maximum(ids, 0)
        choices = self.space.choices(seen)
        distance = (choices[:, :, None] != choices[:, None]).sum(axis=3)
        among = np.where(known[:, :, None] & known[:, None], self._apart**distance, 0.0)
        diagonal = np.arange(ids.shape[1])
        among[:, diagonal, diagonal] = 1 + self._noise
        weights = np.linalg.solve(among, y[:, :, None])[:, :, 0]
        grid = np.zeros((len(ids), self.space.size))
        np.add.at(grid, (np.arange(len(ids))[:, None], self._cell[seen]), np.where(known, weights, 0.0))
        grid = grid.reshape(len(ids), *self.space.sizes)
        for axis in range(1, grid.ndim):  # the kernel of a position: 1 on the same option, 1 / (1 + theta) on another
            grid = (1 - self._apart) * grid + self._apart * grid.sum(axis=axis, keepdims=True)
        return np.round(grid.reshape(len(ids), -1)[:, self._cell], 6)

    def _worth(self, pool: Indices) -> Floats:
        return np.array(self.streams.uniform(pool.shape[1]))
