"""AutoShrink towards a front: pooled evidence on what is paid for, and a cost weight for every evaluation."""

from __future__ import annotations

import functools

import numpy as np
from nasharness.algorithms.autoshrink import CITATION
from nasharness.algorithms.autoshrink_pooled import AutoShrinkPooled
from nasharness.algorithms.ridge import PooledModel
from nasharness.algorithms.shrinking import check, demotions, dense_start, descend, descent_draws
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.search import NOTHING, Algorithm, Task, register
from nasharness.search.algorithm import Asked
from nasharness.spaces.base import Floats, Indices

#: Weight of the sum of the losses beside the greatest of them: of two that are equal in the worst, the better wins.
_SUM = 0.2
#: The loss of what was asked: above every share of a range, whatever small weight it gets.
_TAKEN = 1e300
#: Less than any difference that counts.
_LEAST = 1e-9


@register(
    "autoshrink.pareto",
    citation=CITATION,
    needs=("product", "index", "ladder", "objectives"),
    meanings={
        "theta": "prior variance of an interaction relative to one of an order less; at least 0; ours",
        "noise": "variance of a score's noise, in normal scores; more than 0; ours",
        "growth": "a step evaluates one growth-th of what is known; at least 1; ours",
        "stops": "networks evaluated of the descent by each known objective alone; at least 0; ours",
    },
)
class AutoShrinkPareto(Algorithm):
    """AutoShrink for several objectives: its cost weight is swept, and every descent is decided by all evidence.

    What an evaluation pays for (the accuracy) is predicted for every architecture, by ridge regression on all choices
    and their interactions; what is known without (latency, parameters) enters as it is. First come the two ends of the
    sweep. At weight 0: the full network and all it can be shrunk to by one removal. At cost alone, which needs no
    evaluation: for each known objective ``stops`` networks of the descent that makes the cheapest removal each time.
    These take half of a small budget at most. Then, again and again: fit the models to everything the run has paid for,
    and give each new evaluation weights of its own, swept over all there are. It goes to the new architecture that
    shrinking at those weights would end with, by the least weighted loss in its worst objective (Tchebycheff's
    scalarisation, which unlike a weighted sum reaches all of a front; Knowles, ParEGO, IEEE TEC 2006), losses being
    shares of the predicted front's range.

    Architectures that compute the same network share their evidence, and of such only the one that is best in what is
    known is evaluated until there is no other; so it is with those that do not connect input and output. What is known
    to break a limit, or has a cost that is not known, never is. The answer is the evaluated architecture that is
    predicted best in the first objective. With one objective this is ``autoshrink.pooled`` with
    its defaults.

    Settings: ``theta``, ``noise``: see `PooledModel`; ``growth``: a step evaluates one ``growth``-th of what is known;
    ``stops`` as above. (the sweep and the merging of equals are ours)

    On tss the expected improvement of the hypervolume, with the posterior variances of the same model, found no better
    fronts from 100 evaluations on, at many times the computation; random descents at four cost weights in place of the
    single removals found worse ones at 50 and 100.
    """

    def __init__(
        self, task: Task, *, theta: float = 0.3, noise: float = 0.1, growth: float = 5.0, stops: int = 4
    ) -> None:
        super().__init__(task)
        check("theta", theta, least=0)
        check("growth", growth, least=1)
        check("stops", stops, least=0, most=1_000)
        if not noise > 0:
            raise UsageError(f"autoshrink: noise = {noise}: expected more than 0")
        self._growth, self._stops = growth, stops
        self._single = None if task.several else AutoShrinkPooled(task)
        if self._single is not None:
            return
        self._model = PooledModel(self.space, theta, noise, merge=True)
        self._ids = np.empty((self.runs, 0), dtype=np.int32)
        self._values = np.empty((self.runs, 0))
        everything = np.arange(self.space.size, dtype=np.int32)
        self._excess = task.excess(everything)
        known = [number for number, objective in enumerate(task.objectives) if objective.known]
        #: of each known objective, lower is better: ``[n]``
        self._costs = {number: -task.known(number, everything) for number in known}
        #: what was told of each paid objective but for the first: ``[runs, told]``
        self._paid = {
            number: np.empty((self.runs, 0)) for number in range(1, len(task.objectives)) if number not in known
        }
        self._allowed = self._excess == 0
        for cost in self._costs.values():
            self._allowed &= np.isfinite(cost)
        self._asked = np.tile(~self._allowed[self._model.index], (self.runs, 1))  # by cell of the grid
        self._distinct = self._best_of_equals()

    def ask(self) -> Asked:
        if self._single is not None:
            return self._single.ask()
        told = self._ids.shape[1]
        left = int(self._allowed.sum()) - told
        if told == 0:
            ids = self.task.start(1 + sum(self.space.sizes) // 2, self._first)
        else:
            ids = self._next(min(max(1, int(told / self._growth)), left))
        np.put_along_axis(self._asked, self._model.cell[ids], True, axis=1)
        return ids

    def _best_of_equals(self) -> Indices:
        """Of allowed architectures that compute the same, those that another does not precede in all that is known."""
        ids = np.flatnonzero(self._allowed).astype(np.int32)
        same = self._model.same[ids]
        same[self.space.is_constant(ids)] = self.space.size  # whatever they cost, they all compute nothing
        costs = [cost[ids] for cost in self._costs.values()]
        order = np.lexsort((same != ids, *costs[::-1], same))
        first = np.ones(len(ids), dtype=bool)
        first[1:] = same[order][1:] != same[order][:-1]
        leader = np.maximum.accumulate(np.where(first, np.arange(len(ids)), 0))
        for cost in costs:
            first |= cost[order] < cost[order][leader]
        return ids[order][first]

    def _first(self) -> Indices:
        """The full network, the stops of the descents by cost alone, then the single removals in random order.

        Where the full network breaks a limit, as many that are as full as the limits let them be.
        """
        stops = self._descents()
        self._asked[:, self._model.cell[stops]] = True
        start, smaller = dense_start(self.space), demotions(self.space, keep_path=True)
        removals = smaller[start][smaller[start] >= 0]
        if self._allowed[start]:
            removals = removals[self._allowed[removals]]
            order = np.argsort(self.streams.uniform(len(removals)), axis=1, kind="stable")
            ids = np.concatenate([np.full((self.runs, 1), start, dtype=np.int32), removals[order]], axis=1)
        else:
            ids = self._fullest(start, smaller, min(1 + len(removals), int((~self._asked[0]).sum())))
        most = None if self.task.evaluations is None else max(1, self.task.evaluations // 2)
        return np.concatenate([ids[:, :1], np.tile(stops, (self.runs, 1)), ids[:, 1:]], axis=1)[:, :most]

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

    def _descents(self) -> Indices:
        """Stops of the descents by each known objective alone, none that is evaluated first anyway: int32 ``[stops]``.

        They are evenly spread along each, the last is its end.
        """
        start, smaller = dense_start(self.space), demotions(self.space, keep_path=True)
        found = [np.empty(0, dtype=np.int32)]
        for cost in self._costs.values():
            path = [start]
            while (smaller[path[-1]] >= 0).any():
                options = smaller[path[-1]][smaller[path[-1]] >= 0]
                path.append(int(options[np.where(np.isnan(cost[options]), np.inf, cost[options]).argmin()]))
            kept = np.array(path, dtype=np.int32)[self._allowed[path]]
            # counted from the end, which is a stop; the start is none
            places = len(kept) - 1 - np.arange(self._stops) * max(len(kept) - 1, 0) // max(self._stops, 1)
            found.append(kept[places[places >= 0]])
        return np.setdiff1d(np.concatenate(found), [start, *smaller[start]]).astype(np.int32)

    def _next(self, k: int) -> Indices:
        if k == 0:
            return np.full((self.runs, 1), NOTHING, dtype=np.int32)
        left = self._distinct if len(self._distinct) - self._ids.shape[1] >= k else np.flatnonzero(self._allowed)
        cells = self._model.cell[left]
        objectives = len(self.task.objectives)
        # uniform on all weights that add up to 1: the gaps between uniforms, the first of which are swept
        u = self.streams.uniform(k * (objectives - 1)).reshape(self.runs, k, -1)
        swept = np.concatenate([(np.arange(k)[:, None] + u[..., :1]) / k, u[..., 1:]], axis=2)
        weights = np.diff(np.sort(swept, axis=2), axis=2, prepend=0.0, append=1.0)
        costs = {number: cost[left] for number, cost in self._costs.items()}
        paid = {0: self._values, **self._paid}
        ids = np.empty((self.runs, k), dtype=np.int32)
        for parts in zip(*(self._model.predict(self._ids, values) for values in paid.values()), strict=True):
            rows = parts[0][0]
            losses = costs | {number: -part[1][:, cells] for number, part in zip(paid, parts, strict=True)}
            taken = self._asked[rows][:, cells]
            shares = _shares([np.broadcast_to(losses[number], taken.shape) for number in range(objectives)])
            shares[0][taken] = _TAKEN
            for row, slots in enumerate(weights[rows]):
                ids[rows.start + row] = left[_chosen([share[row] for share in shares], slots)]
        return ids

    def tell(self, ids: Indices, values: Floats) -> None:
        if self._single is not None:
            return self._single.tell(ids, values)
        # what was not evaluated is NaN, in runs that have ended: `recommend` leaves it out
        self._ids = np.concatenate([self._ids, ids], axis=1)
        self._values = np.concatenate([self._values, values[..., 0]], axis=1)
        self._paid = {
            number: np.concatenate([told, values[..., number]], axis=1) for number, told in self._paid.items()
        }
        return None

    def recommend(self, rows: NDArray[np.intp]) -> Indices:
        if self._single is not None:
            return self._single.recommend(rows)
        answers = np.empty(len(rows), dtype=np.int32)
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


def _shares(losses: list[Floats]) -> list[Floats]:
    """Losses ``[some, n]`` of each objective as shares of its range from the ideal point to the nadir point.

    The nadir is estimated as the worst at what is best in one of the others, so that what costs more than the most
    accurate does not stretch the range.
    """
    shares = [loss - loss.min(axis=1, keepdims=True) for loss in losses]
    for share in shares:
        share /= np.maximum(share.max(axis=1, keepdims=True), _LEAST)
    total = functools.reduce(np.add, shares)
    best = [(share + _LEAST * total).argmin(axis=1) for share in shares]  # of equals, the better in the others
    rows = np.arange(len(total))
    for share in shares:
        nadir = functools.reduce(np.maximum, [share[rows, place] for place in best])
        share /= np.where(nadir > 0, nadir, 1.0)[:, None]
    return shares


def _chosen(losses: list[Floats], weights: Floats) -> NDArray[np.intp]:
    """Places of the least scalarised loss, one for each of ``weights [k, objectives]``, no place twice: ``[k]``.

    ``losses``: of each objective ``[n]``; the first is overwritten where a place is taken.
    """
    places = np.empty(len(weights), dtype=np.intp)
    for slot, each in enumerate(weights):
        weighted = [weight * loss for weight, loss in zip(each, losses, strict=True)]
        worst = functools.reduce(np.maximum, weighted)
        worst += _SUM * functools.reduce(np.add, weighted)
        places[slot] = worst.argmin()
        losses[0][places[slot]] = _TAKEN
    return places
