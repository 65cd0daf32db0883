"""AutoShrink towards a front: pooled evidence on what is paid for, and a cost weight for every evaluation."""

from __future__ import annotations

import functools

import numpy as np
from nasharness.algorithms.autoshrink import CITATION
from nasharness.algorithms.autoshrink_pooled import AutoShrinkPooled
from nasharness.algorithms.shrinking import check, demotions, dense_start
from numpy.typing import NDArray

from nasharness.search import Task, register
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
        "theta": "prior variance of an interaction relative to one of an order less; at least 0; as in .pooled",
        "noise": "variance of a score's noise, in normal scores; more than 0; as in .pooled",
        "explore": "with one objective, share of cells drawn uniformly; 0 to 1; as in .pooled",
        "growth": "a step evaluates one growth-th of what is known; at least 1; as in .pooled",
        "stops": "networks evaluated of the descent by each known objective alone; at least 0; ours",
    },
)
class AutoShrinkPareto(AutoShrinkPooled):
    """AutoShrink for several objectives: its cost weight is swept, and every descent is decided by all evidence.

    What an evaluation pays for (the accuracy) is predicted for every architecture by the model of `autoshrink.pooled`;
    what is known without (latency, parameters) enters as it is. First come the two ends of the sweep. At weight 0: the
    full network and all it can be shrunk to by one removal. At cost alone, which needs no evaluation: for each known
    objective ``stops`` networks of the descent that makes the cheapest removal each time. These take half of a small
    budget at most. Then, again and again: fit the models to everything the run has paid for, and give each new
    evaluation weights of its own, swept over all there are. It goes to the new architecture that shrinking at those
    weights would end with, by the least weighted loss in its worst objective (Tchebycheff's scalarisation, which unlike
    a weighted sum reaches all of a front; Knowles, ParEGO, IEEE TEC 2006), losses being shares of the predicted front's
    range.

    Architectures that compute the same network share their evidence, and of such only the one that is best in what is
    known is evaluated until there is no other; so it is with those that do not connect input and output. What is known
    to break a limit, or has a cost that is not known, never is. The answer is the evaluated architecture that is
    predicted best in the first objective. With one objective this is ``autoshrink.pooled``.

    Settings: ``stops`` as above; ``theta``, ``noise``, ``growth`` as in ``autoshrink.pooled``, and ``explore``, which
    counts with one objective alone. The sweep and the merging of equals are ours
    (docs/reproduction/multi-objective.md).

    On tss the expected improvement of the hypervolume, with the posterior variances of the same model, found no better
    fronts from 100 evaluations on, at many times the computation; random descents at four cost weights in place of the
    single removals found worse ones at 50 and 100.
    """

    merges = True

    def __init__(
        self,
        task: Task,
        *,
        theta: float = 0.3,
        noise: float = 0.1,
        explore: float = 0.3,
        growth: float = 5.0,
        stops: int = 4,
    ) -> None:
        super().__init__(task, theta=theta, noise=noise, explore=explore, growth=growth)
        check("stops", stops, least=0, most=1_000)
        self._stops = stops
        if not task.several:
            return
        everything = np.arange(self.space.size, dtype=np.int32)
        known = [number for number, objective in enumerate(task.objectives) if objective.known]
        #: of each known objective, lower is better: ``[n]``
        self._costs = {number: -task.known(number, everything) for number in known}
        #: what was told of each paid objective but for the first: ``[runs, told]``
        self._more = {
            number: np.empty((self.runs, 0)) for number in range(1, len(task.objectives)) if number not in known
        }
        self._allowed = self._excess == 0
        for cost in self._costs.values():
            self._allowed &= np.isfinite(cost)
        self._barred = ~self._allowed[self._model.index]
        self._asked[:] = self._barred
        self._distinct = self._best_of_equals()

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
        if not self.task.several:
            return super()._first()
        stops = self._descents()
        self._asked[:, self._model.cell[stops]] = True
        ids = super()._first()
        most = None if self.task.evaluations is None else max(1, self.task.evaluations // 2)
        return np.concatenate([ids[:, :1], np.tile(stops, (self.runs, 1)), ids[:, 1:]], axis=1)[:, :most]

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
        if not self.task.several or k == 0:
            return super()._next(k)
        left = self._distinct if len(self._distinct) - self._ids.shape[1] >= k else np.flatnonzero(self._allowed)
        cells = self._model.cell[left]
        objectives = len(self.task.objectives)
        # uniform on all weights that add up to 1: the gaps between uniforms, the first of which are swept
        u = self.streams.uniform(k * (objectives - 1)).reshape(self.runs, k, -1)
        swept = np.concatenate([(np.arange(k)[:, None] + u[..., :1]) / k, u[..., 1:]], axis=2)
        weights = np.diff(np.sort(swept, axis=2), axis=2, prepend=0.0, append=1.0)
        costs = {number: cost[left] for number, cost in self._costs.items()}
        paid = {0: self._values, **self._more}
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
        if self.task.several:
            self._more = {
                number: np.concatenate([told, values[..., number]], axis=1) for number, told in self._more.items()
            }
            values = values[..., 0]
        super().tell(ids, values)


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
