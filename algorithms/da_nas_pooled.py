"""DA-NAS with pooled evidence: every stage's evaluations decide together, as in AutoShrink's pooled form."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.autoshrink_set import sample_from
from nasharness.algorithms.da_nas_table import CITATION, END, ROUNDS, numbers, sources, total
from nasharness.algorithms.ridge import PooledModel, normal_scores
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import NOTHING, Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices

#: Variance that a stage's scores keep at least, in squares of a normal score: stages are never taken for noise alone.
_LEAST = 0.1


@register(
    "da-nas.pooled",
    citation=CITATION,
    needs=("product", "index"),
    meanings={
        "samples": "evaluations of each round, as 40,40,120; at least 1; ours (none said: equal shares)",
        "drop": "options dropped a position after each round, on average; at least 0; ours",
        "explore": "share of architectures drawn uniformly from what is left; 0 to 1; ours",
        "growth": "a step evaluates one growth-th of what is known; at least 1; ours",
        "theta": "prior variance of an interaction relative to an order less; at least 0; as in autoshrink.pooled",
        "noise": "variance of a score's noise, in normal scores; more than 0; as in autoshrink.pooled",
    },
)
class DaNasPooled(Algorithm):
    """Data-adapted pruning whose stages share their evidence in one model.

    Rounds and sources are those of ``da-nas.table``. AutoShrink's pooled model is fitted to all evaluations of the run
    so far: scores are ranked within their source, and those of a later one are placed where the evidence before it
    expects the architectures that it was asked about. A step evaluates a share ``explore`` drawn uniformly from the
    options that are left, and for the rest what is predicted best; after a round the options are dropped whose best
    architecture is predicted worst, across all positions. After the abstract; details ours.
    """

    def __init__(
        self,
        task: Task,
        *,
        samples: str = "",
        drop: float = 1.0,
        explore: float = 0.3,
        growth: float = 5.0,
        theta: float = 0.3,
        noise: float = 0.1,
    ) -> None:
        super().__init__(task)
        self._samples = numbers("samples", samples, least=1)
        if not self._samples:
            rounds, budget = max(ROUNDS, len(task.stages) + 1), total(task)
            each = max(1, round((1 - END) * budget / rounds))
            self._samples = [each] * (rounds - 1) + [max(1, budget - each * (rounds - 1))]
        for name, value, least in (("drop", drop, 0.0), ("theta", theta, 0.0), ("growth", growth, 1.0)):
            if not value >= least:
                raise UsageError(f"da-nas: {name} = {value}: expected at least {least:g}")
        if not noise > 0:
            raise UsageError(f"da-nas: noise = {noise}: expected more than 0")
        if not 0 <= explore <= 1:
            raise UsageError(f"da-nas: explore = {explore}: expected 0 to 1")
        self._sources = sources(task, len(self._samples))
        self._explore, self._growth, self._drop = explore, growth, drop
        self._model = PooledModel(self.space, theta, noise)
        self._noise = noise
        sizes = np.array(self.space.sizes)
        options = np.arange(sizes.max()) < sizes[:, None]
        self._alive = np.broadcast_to(options, (self.runs, *options.shape)).copy()
        self._round, self._in_round = 0, 0
        self._ids = np.empty((self.runs, 0), dtype=np.int32)
        self._scores = np.empty((self.runs, 0))  # of earlier sources, placed on one scale
        self._values = np.empty((self.runs, 0))  # of the source now asked, as they were told
        self._expected: NDArray[np.float32] | None = None  # what the evidence before that source predicts ``[runs, n]``
        self._asked = np.zeros((self.runs, self.space.size), dtype=bool)  # at that source, by cell of the grid
        self._asked |= (task.excess(self._model.index) > 0)[None]
        self._barred = self._asked[0].copy()
        self._given = task.start(10, self._random)

    def _random(self) -> Indices:
        u = self.streams.uniform(10 * len(self.space.sizes)).reshape(self.runs, 10, -1)
        return sample_from(self.space, self._alive[:, None], u)

    def surviving(self) -> NDArray[np.bool_]:
        """Options that are left: ``[runs, positions, options]``."""
        return self._alive

    def ask(self) -> Asked:
        source = self._sources[min(self._round, len(self._sources) - 1)]
        if self._given.shape[1]:
            ids, self._given = self._given, self.task.nothing
        else:
            left = int((~self._asked).sum(axis=1).min())
            k = min(max(1, int(self._ids.shape[1] / self._growth)), left)
            if self._round < len(self._samples):
                k = min(k, max(1, self._samples[self._round] - self._in_round))
            if k == 0:
                return np.full((self.runs, 1), NOTHING, dtype=np.int32), source
            ids = self._next(k)
        np.put_along_axis(self._asked, self._model.cell[ids], True, axis=1)
        return ids, source

    def _evidence(self) -> Floats:
        """Scores of all that was told, ``[runs, told]``, on one scale."""
        if not self._values.shape[1]:
            return self._scores
        placed = self._placed(self._values, self._ids[:, self._scores.shape[1] :], self._expected)
        return np.concatenate([self._scores, placed], axis=1)

    def _placed(self, values: Floats, ids: Indices, expected: NDArray[np.float32] | None) -> Floats:
        """Scores of ``values [runs, k]`` of one source, where the evidence before it, ``[runs, n]``, expects them."""
        scores = normal_scores(values)
        if expected is None:
            return scores
        known = np.take_along_axis(expected, self._model.cell[ids], axis=1)
        wide = np.sqrt(np.maximum(known.var(axis=1, keepdims=True) + self._noise, _LEAST))
        return np.round(known.mean(axis=1, keepdims=True) + wide * scores, 9)

    def _next(self, k: int) -> Indices:
        """``k`` architectures that the source has not been asked about: ``[runs, k]``."""
        positions = len(self.space.sizes)
        u = self.streams.uniform(k * (1 + positions))
        uniform = u[:, :k] < self._explore
        drawn = sample_from(self.space, self._alive[:, None], u[:, k:].reshape(self.runs, k, positions))
        ids = np.empty((self.runs, k), dtype=np.int32)
        cells = self._model.cell
        for rows, predicted in self._model.predict(self._ids, self._evidence()):
            for run, row in enumerate(predicted, rows.start):
                free = np.where(self._asked[run], -np.inf, row)
                for slot in range(k):
                    cell = cells[drawn[run, slot]]
                    if not uniform[run, slot] or free[cell] == -np.inf:
                        cell = int(free.argmax())
                    ids[run, slot] = self._model.index[cell]
                    free[cell] = -np.inf
        return ids

    def tell(self, ids: Indices, values: Floats) -> None:
        # what was not evaluated is NaN, in runs that have ended: nobody asks them again
        self._ids = np.concatenate([self._ids, ids], axis=1)
        self._values = np.concatenate([self._values, values], axis=1)
        self._in_round += ids.shape[1]
        if self._round < len(self._samples) and self._in_round >= self._samples[self._round]:
            self._end_round()

    def _end_round(self) -> None:
        evidence = self._evidence()
        predicted = np.concatenate([part for _, part in self._model.predict(self._ids, evidence)])
        predicted[:, self._barred] = predicted.min(axis=1, keepdims=True) - 1
        self._round, self._in_round = self._round + 1, 0
        positions, choices = len(self.space.sizes), sum(self.space.sizes)
        level = max(2 * positions, choices - round(self._drop * positions * self._round))
        self._alive = self._model.survivors(predicted, np.full(self.runs, min(level, choices)))
        last = len(self._sources) - 1
        if self._sources[min(self._round, last)] != self._sources[min(self._round - 1, last)]:
            self._scores, self._values = evidence, np.empty((self.runs, 0))
            self._expected = predicted.astype(np.float32)
            self._asked[:] = self._barred

    def recommend(self, rows: NDArray[np.intp]) -> Indices:
        """The best by the signal, the incumbent; where it was not shown, the best predicted of what the stages have."""
        answers = np.full(len(rows), NOTHING, dtype=np.int32)
        before = self._scores.shape[1]
        signal = self._round >= len(self._sources) or self._sources[self._round] == self.task.epochs[-1]
        for place, row in enumerate(rows):
            told = ~np.isnan(self._values[row])  # a run that ended within a step has told less than the others
            if signal and told.any():
                continue
            own = self._ids[None, row, before:][:, told]
            expected = None if self._expected is None else self._expected[None, row]
            ids = np.concatenate([self._ids[None, row, :before], own], axis=1)
            scores = self._scores[None, row]
            if told.any():
                scores = np.concatenate([scores, self._placed(self._values[None, row, told], own, expected)], axis=1)
            _, predicted = next(self._model.predict(ids, scores))
            answers[place] = ids[0, int(predicted[0, self._model.cell[ids[0]]].argmax())]
        return answers
