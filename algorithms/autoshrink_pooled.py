"""AutoShrink with pooled evidence: every removal is decided by all evaluations of the run, not by a few fresh ones."""

from __future__ import annotations

import numpy as np
from nasharness.algorithms.autoshrink import CITATION
from nasharness.algorithms.contenders import Contenders
from nasharness.algorithms.evidence import Evidence, most_optimistic
from nasharness.algorithms.gaussian import chunks
from nasharness.algorithms.shrinking import (
    check,
    demotions,
    dense_start,
    descend,
    descent_draws,
    first_of_equals,
    kept,
    penalty,
)
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import NOTHING, PAUSE, Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices
from nasharness.spaces.embedding import embeddings

#: Architectures that a run begins with where there is nothing to shrink, or the problem says how but not how many.
_START = 10
#: What the full network is tried by: so many removals and so many from anywhere; and what follows where those lead.
_REMOVED, _OTHERS, _MORE = 5, 2, 5
#: The best so many, of which some are drawn at each step: what is one choice away from these may come next.
_BEST = 10
#: How many of these are drawn, candidates from anywhere, and of all the candidates those of the best expectation that
#: are considered beside what is evaluated: until so many evaluations are known, from then on, and under limits.
_WIDE, _UNTIL, _NARROW, _LIMITED = (8, 64, 12), 64, (4, 32, 12), (8, 512, 24)
#: Candidates that are one choice away from each of what is drawn, at most, and considered together, at most.
_NEAR, _TOGETHER = 24, 64
#: How often a candidate that breaks a limit is tried with one more choice changed.
_MENDED = 4
#: Evaluations before which nothing is evaluated again, and repeats that have to agree until a signal counts as exact.
_LEAST, _AGREE = 50, 5
#: The best so many by the model are contenders where the signal is noisy.
_CONTENDERS = 16


@register(
    "autoshrink.pooled",
    citation=CITATION,
    needs=("index", "neighbours"),
    meanings={
        "own": "variance that an architecture has for itself, beside what the model shares; more than 0; ours",
        "growth": "a step evaluates one growth-th of what is known; at least 1; ours",
        "explore": "standard deviations that an expected score is looked at above; at least 0; ours",
        "repeats": "share of a budget that a noisy signal is repeated with; 0 to 1; ours",
        "topology": "whether the model may look at what a network computes, besides its choices; ours",
        "cost_weight": "accuracy, as a fraction, given up per tenfold MACs; at least 0; as in autoshrink",
    },
)
class AutoShrinkPooled(Algorithm):
    """AutoShrink whose removals are decided by a model of everything the run has evaluated, and can be taken back.

    It begins as AutoShrink does: with the full network and removals from it. If the best of the first removals does not
    beat networks drawn from anywhere, the full network was no good start, and more are drawn instead. Then, again and
    again: fit a Gaussian process to all the evidence; take the networks that one removal from the best ones, or one
    taken back, leads to, and some from anywhere; evaluate those that may be best, by their expected score and
    ``explore`` standard deviations, each for those that are chosen with it.

    The model knows a network by what it computes, its topology: the operations on paths from input to output, and the
    paths. Where the evidence is likelier so, it knows it by its choices alone (see `Evidence`).

    Where the problem does not say that its signal is exact, the best are evaluated again once the rest of the budget is
    what ``repeats`` says. If that shows noise, the rest goes to the contenders for the best, and the answer is the one
    believed to be it. Otherwise the search goes on, and the answer is the best evaluated, of equals the one with the
    better prediction.

    Settings: ``own``: variance of what an architecture has for itself, where that of what it shares is 1. ``growth``: a
    step evaluates one ``growth``-th of what is known. ``explore``, ``repeats``, ``topology``: see above.
    ``cost_weight`` as in ``autoshrink``. Why evidence is pooled: docs/reproduction/autoshrink.md#t4; the model is ours.

    Under limits, what is known to break them is never evaluated; where the full network does, the first evaluations are
    networks that random removals reach first within the limits.
    """

    def __init__(
        self,
        task: Task,
        *,
        own: float = 0.05,
        growth: float = 6.0,
        explore: float = 5.0,
        repeats: float = 0.6,
        topology: bool = True,
        cost_weight: float = 0.0,
    ) -> None:
        super().__init__(task)
        check("growth", growth, least=1)
        check("explore", explore, least=0)
        check("repeats", repeats, least=0, most=1)
        if not own > 0:
            raise UsageError(f"autoshrink: own = {own}: expected more than 0")
        views = [view for view in embeddings(self.space) if topology or view.name != "topology"]
        if not views:
            raise UsageError(
                f"autoshrink.pooled: architectures of space {self.space.name!r} have neither positions nor a graph, so "
                "that evidence about one tells nothing about another; use local-search or rea"
            )
        self._growth, self._explore, self._share = growth, explore, repeats
        self._penalty = penalty(self.space, task.dataset, cost_weight)
        self._excess = task.excess(np.arange(self.space.size, dtype=np.int32))
        self._allowed = kept(self.space, self._excess)
        self._limited = not self._allowed.all()
        self._inside = np.flatnonzero(self._allowed).astype(np.int32)
        self._evidence = Evidence(tuple(views), self.runs, own)
        #: removals that are evaluated next if the first ones were worth it
        self._rest = np.empty((self.runs, 0), dtype=np.int32)

    # -- what to evaluate ------------------------------------------------------------------------------------------

    def ask(self) -> Asked:
        told = self._evidence.ids.shape[1]
        if told == 0:
            return self.task.start(_START, self._first)
        if self._rest.shape[1]:
            return self._second()
        k = max(1, int(told / self._growth))
        ids = self._next(told, k)
        again = self._repeats(k)
        if again.any():  # first, as long as the race is open; what is left of the step goes to what is new
            repeated = self._contenders(slice(None)).race(k)
            repeated[np.arange(k) >= again[:, None]] = NOTHING
            slot = np.arange(k) - (repeated >= 0).sum(axis=1, keepdims=True)
            ids = np.where(slot < 0, repeated, np.take_along_axis(ids, np.maximum(slot, 0), axis=1))
        return ids

    def _first(self) -> Indices:
        """The full network, some removals from it, and some from anywhere.

        Where the full network breaks a limit, as many that are as full as the limits let them be.
        """
        if "ladder" not in self.space.offers:
            return self._anywhere(_START)
        start, smaller = dense_start(self.space), demotions(self.space, keep_path=True)
        if not self._allowed[start]:
            return self._fullest(start, smaller)
        removals = smaller[start][smaller[start] >= 0]
        removals = removals[self._allowed[removals]]
        order = np.argsort(self.streams.uniform(len(removals)), axis=1, kind="stable")
        self._rest = removals[order][:, _REMOVED:]
        full = np.full((self.runs, 1), start, dtype=np.int32)
        return _once(np.concatenate([full, removals[order][:, :_REMOVED], self._anywhere(_OTHERS)], axis=1))

    def _second(self) -> Indices:
        """The other removals where the first ones lead, else some from anywhere."""
        ids, self._rest = self._rest, self._rest[:, :0]
        value = np.where(self._evidence.count > 0, self._evidence.mean, -np.inf)
        worth = value[:, :-_OTHERS].max(axis=1) > value[:, -_OTHERS:].max(axis=1)
        others = np.full((self.runs, max(ids.shape[1], _MORE)), NOTHING, dtype=np.int32)
        others[:, :_MORE] = self._anywhere(_MORE)
        removals = np.full_like(others, NOTHING)
        removals[:, : ids.shape[1]] = ids
        ids = np.where(worth[:, None], removals, others)
        ids[(ids[:, :, None] == self._evidence.ids[:, None, :]).any(axis=2)] = NOTHING
        ids = _once(ids)
        ids[(ids == NOTHING).all(axis=1), 0] = PAUSE
        return ids

    def _fullest(self, start: int, smaller: Indices) -> Indices:
        """What random descents reach first that keeps the limits."""
        draws = descent_draws(self.space)
        u = self.streams.uniform(_START * draws).reshape(self.runs, _START, draws)
        return _once(descend(start, smaller, self._allowed, self._excess, u)[1])

    def _anywhere(self, count: int) -> Indices:
        """Uniform architectures ``[runs, count]`` that keep the limits, each once."""
        return _once(self._inside[(self.streams.uniform(count) * len(self._inside)).astype(np.intp)])

    def _repeats(self, k: int) -> NDArray[np.int64]:
        """How many of the ``k`` evaluations of this step each run spends on what it knows: ``[runs]``."""
        evidence, budget = self._evidence, self.task.evaluations
        if self.task.exact or self.task.free_repeats or self._share == 0:
            return np.zeros(self.runs, dtype=np.int64)
        # where the budget is in seconds its end is not known beforehand: from the least on repeats keep up their share
        begin = _LEAST if budget is None else max(_LEAST, int((1 - self._share) * budget))
        after = (evidence.ids >= 0).sum(axis=1) + k
        wanted = (self._share * after).astype(np.int64) if budget is None else after - begin
        left = np.where(evidence.noisy, wanted, _AGREE) - evidence.repeats
        return np.where(after - k < begin, 0, np.clip(left, 0, k))

    def _next(self, told: int, k: int) -> Indices:
        """New architectures: those that may be best for all that is known, ``[runs, k]``."""
        evidence = self._evidence
        near, far, beside = _LIMITED if self._limited else _WIDE if told < _UNTIL else _NARROW
        u = self.streams.uniform(_BEST + max(far, k))
        best = evidence.best(_BEST)
        drawn = np.argsort(u[:, : best.shape[1]], axis=1, kind="stable")[:, :near]
        centres = np.take_along_axis(evidence.ids, np.take_along_axis(best, drawn, axis=1), axis=1)
        pool = self._candidates(centres, u[:, _BEST:])
        new = self._allowed[pool] & ~evidence.asked(pool)
        new[:, 1:] &= pool[:, 1:] != pool[:, :-1]
        found, mean, covariance = evidence.promising(pool, new, k + beside, min(k + beside, _TOGETHER))
        places = most_optimistic(mean, covariance, self._explore, k)
        if places.shape[1] < k:  # more than are considered together: then by expectation
            rest = np.arange(found.shape[1])[None] == places[:, :, None]
            rest = np.argsort(rest.any(axis=1), axis=1, kind="stable")[:, : k - places.shape[1]]
            places = np.concatenate([places, rest], axis=1)
        ids = np.full((self.runs, k), NOTHING, dtype=np.int32)
        there = np.take_along_axis(mean, places, axis=1) > -np.inf
        ids[:, : places.shape[1]] = np.where(there, np.take_along_axis(found, places, axis=1), NOTHING)
        for row in np.flatnonzero((ids == NOTHING).any(axis=1)):  # too few candidates are new: whatever else is
            left = evidence.unasked(row, self._inside)
            left = left[~np.isin(left, ids[row])]
            slots = np.flatnonzero(ids[row] == NOTHING)[: len(left)]
            spread = (np.arange(len(slots)) + u[row, 0]) * (len(left) / max(len(slots), 1))  # all over what is left
            ids[row, slots] = left[spread.astype(np.intp)]
        return ids

    def _candidates(self, centres: Indices, u: Floats) -> Indices:
        """What is one choice away from ``centres [runs, drawn]``, and some from anywhere: ``[runs, m]``, sorted.

        Of many neighbours those behind a place that is drawn. What is close to a limit has most of its neighbours on
        the other side, and those beside it along the limit are two choices away: one more is changed there at random.
        """
        near = self.space.neighbours(centres)
        if near.shape[2] > _NEAR:
            count = np.maximum((near >= 0).sum(axis=2), 1)
            first = (u[:, : centres.shape[1]] * count).astype(np.intp)
            near = np.take_along_axis(near, (first[:, :, None] + np.arange(_NEAR)) % count[:, :, None], axis=2)
        far = self._inside[(u * len(self._inside)).astype(np.intp)]
        near = near.reshape(len(u), -1)
        for _ in range(_MENDED if self._limited else 0):
            lots = self.streams.uniform(near.shape[1])
            bad = (near >= 0) & ~self._allowed[near]
            rows, columns = np.nonzero(bad)
            others = self.space.neighbours(near[rows, columns])
            slots = (lots[rows, columns] * np.maximum((others >= 0).sum(axis=1), 1)).astype(np.intp)
            other = others[np.arange(len(rows)), slots]
            near[rows, columns] = np.where((other >= 0) & self._allowed[other], other, near[rows, columns])
        pool = np.concatenate([near, far], axis=1)
        pool = np.where((pool >= 0) & self._allowed[pool], pool, far[:, :1])
        pool.sort(axis=1)
        return pool

    # -- what came of it -------------------------------------------------------------------------------------------

    def tell(self, ids: Indices, values: Floats) -> None:
        self._evidence.add(ids, values - self._penalty[ids])

    def _contenders(self, rows: slice | NDArray[np.intp]) -> Contenders:
        evidence = self._evidence
        places, scores, shared = evidence.held(rows)
        expected = (scores + shared) / 2
        best = np.argsort(-expected, axis=1, kind="stable")[:, :_CONTENDERS]
        places = np.take_along_axis(places, best, axis=1)
        there = np.take_along_axis(expected, best, axis=1) > -np.inf
        ids, mean, count = (
            np.take_along_axis(each[rows], places, axis=1) for each in (evidence.ids, evidence.mean, evidence.count)
        )
        mean = np.where(there, mean, np.nan)
        return Contenders(ids, mean, count, evidence.squares[rows], evidence.repeats[rows])

    def recommend(self, rows: NDArray[np.intp]) -> Indices:
        evidence = self._evidence
        answers = np.empty(len(rows), dtype=np.int32)
        for part in chunks(len(rows)):
            some = rows[part]
            places, scores, shared = evidence.held(some)
            top = np.where(scores == scores.max(axis=1, keepdims=True), shared, -np.inf).argmax(axis=1)
            exact = evidence.ids[some, places[np.arange(len(some)), top]]
            answers[part] = np.where(evidence.noisy[some], self._contenders(some).best(), exact)
        return answers


def _once(ids: Indices) -> Indices:
    """The same ``ids [runs, k]`` with NOTHING where one is repeated."""
    return np.where(first_of_equals(ids), ids, NOTHING).astype(np.int32)
