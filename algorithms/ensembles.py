"""Paths as features, and ensembles of wide networks fitted in closed form: what predictor-based searches share."""

from __future__ import annotations

import functools

import numpy as np
from nasharness.algorithms.gaussian import EVIDENCE, chunks
from nasharness.algorithms.labels import LabelCounts, Labels
from nasharness.algorithms.weisfeiler_lehman import operations

from nasharness.spaces.base import Floats, Indices, Space

#: Decimals of a prediction that count. What lies behind differs between processors' matrix products.
_DECIMALS = 6


class Paths(LabelCounts):
    """The paths of operations from input to output that an architecture has: the path encoding.

    Where all architectures are chains, or no graphs, a path would name the whole of it: then its choices, position by
    position. White, Neiswanger & Savani, BANANAS, AAAI 2021.
    """

    def __init__(self, space: Space) -> None:
        super().__init__(space, 1)
        graph = space.graph(0) if space.has_graph else None
        # a skeleton has branches though the first architecture may have none
        self._branched = graph is not None and (space.skeleton is not None or len(graph.edges) >= len(graph.nodes))

    def _read(self, index: int) -> Labels:
        graph = self._space.graph(index) if self._branched else None
        if graph is None:
            found: set[object] = set(enumerate(self._space.choices(np.array(index)).tolist()))
        else:
            names, feeds = operations(graph)
            ways: list[set[tuple[str, ...]]] = [{()}]
            for name, sources in zip(names[1:], feeds[1:], strict=True):
                ways.append({(*way, name) for one in sources for way in ways[one]})
            found = set(ways[-1])
        numbers = [self._numbers.setdefault(label, len(self._numbers)) for label in sorted(found, key=repr)]
        return np.array([numbers], dtype=np.int32)


@functools.lru_cache(maxsize=4)
def paths(space: Space) -> Paths:
    """The paths of a space, one object for the whole process: graphs are read once."""
    return Paths(space)


def wide_network(features: LabelCounts, one: Indices, other: Indices) -> Floats:
    """The kernel of infinitely wide networks with one hidden layer of rectified units: ``[runs, m, n]``, 1 on equals.

    The arc-cosine kernel of order 1 of labels and a constant (Cho & Saul, Kernel Methods for Deep Learning, NeurIPS
    2009): fitting it fits the output layer of such a network in closed form.
    """
    level = np.zeros(len(one), dtype=np.intp)
    a, b = features.squares(one, level) + 1, features.squares(other, level) + 1
    cosine = (features.pairs(one, other, level) + 1.0) / np.sqrt(a[:, :, None] * b[:, None, :])
    cosine = np.minimum(cosine, 1.0)
    angle = np.arccos(cosine)
    return np.asarray((np.sqrt(1.0 - cosine * cosine) + (np.pi - angle) * cosine) / np.pi)


def predictions(features: LabelCounts, ids: Indices, y: Floats, pool: Indices, weights: Floats, ridge: float) -> Floats:
    """What each network of an ensemble predicts of ``pool [runs, m]``: float64 ``[runs, networks, m]``, rounded.

    ``ids``, ``y`` ``[runs, n]``: the evidence, 0 in ``y`` where an id is negative. ``weights [runs, networks, n]``: how
    much each network goes by each evaluation. ``ridge``: how much the networks are held to their prior.
    """
    found = np.empty((len(ids), weights.shape[1], pool.shape[1]))
    for rows in chunks(len(ids)):
        known, seen = ids[rows] >= 0, np.maximum(ids[rows], 0)
        both = known[:, :, None] & known[:, None, :]
        among = np.where(both, wide_network(features, seen, seen), 0.0)
        noise = np.zeros((*weights[rows].shape, ids.shape[1]))
        diagonal = np.arange(ids.shape[1])
        noise[..., diagonal, diagonal] = ridge / weights[rows]
        solved = np.linalg.solve(among[:, None] + noise, np.broadcast_to(y[rows, None], weights[rows].shape)[..., None])
        across = np.where(known[:, None, :], wide_network(features, pool[rows], seen), 0.0)
        found[rows] = (across[:, None] @ solved)[..., 0]
    return np.round(found, _DECIMALS)


def best_evidence(ids: Indices, values: Floats) -> tuple[Indices, Floats]:
    """``ids`` and ``values`` ``[runs, n]``, or the best `EVIDENCE` of them where there are more: solving is cubic."""
    if ids.shape[1] <= EVIDENCE:
        return ids, values
    ranked = np.argsort(-np.where(np.isnan(values), -np.inf, values), axis=1, kind="stable")
    kept = np.sort(ranked[:, :EVIDENCE], axis=1)
    return np.take_along_axis(ids, kept, axis=1), np.take_along_axis(values, kept, axis=1)
