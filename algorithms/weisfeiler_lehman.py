"""Weisfeiler-Lehman kernels of architectures, read off `Space.graph` and kept for as long as the process lives.

N. Shervashidze, P. Schweitzer, E. J. van Leeuwen, K. Mehlhorn, K. M. Borgwardt: Weisfeiler-Lehman Graph Kernels, JMLR
2011. A node's first label is its operation; round after round it becomes the pair of its label and the sorted labels of
the nodes that feed it. The kernel of two graphs is the number of pairs of equal labels over all rounds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nasharness.errors import UsageError
from nasharness.spaces.base import Floats, Indices, Space
from nasharness.spaces.graph import LabelledGraph

Labels = NDArray[np.int32]


def operations(graph: LabelledGraph) -> tuple[list[str], list[list[int]]]:
    """The nodes of a graph that compute something, and for each the numbers of those that feed it.

    Where edges carry operations, each live edge becomes a node, between an input and an output. What is on no path from
    the network's input to its output is left out, for it computes nothing.
    """
    live = [edge for edge, alive in zip(graph.edges, graph.live(), strict=True) if alive]
    if any(operation for _, _, operation in graph.edges):
        names = ["input", *(operation for _, _, operation in live), "output"]
        ends = [(-1, 0), *((source, target) for source, target, _ in live), (len(graph.nodes) - 1, -2)]
        return names, [[one for one, end in enumerate(ends) if end[1] == start] for start, _ in ends]
    kept = sorted({0, len(graph.nodes) - 1, *(end for source, target, _ in live for end in (source, target))})
    place = {node: number for number, node in enumerate(kept)}
    feeds: list[list[int]] = [[] for _ in kept]
    for source, target, _ in live:
        feeds[place[target]].append(place[source])
    return [graph.nodes[node] for node in kept], feeds


def subtrees(names: Sequence[str], feeds: Sequence[Sequence[int]], rounds: int, numbers: dict[object, int]) -> Labels:
    """Labels of all nodes, before the first round and after each: int32 ``[rounds + 1, nodes]``.

    ``numbers``: what every label is called, shared by all graphs that are to be compared; new ones are added.
    """
    labels: list[object] = list(names)
    found = np.empty((rounds + 1, len(names)), dtype=np.int32)
    for depth in range(rounds + 1):
        if depth:
            labels = [
                (label, tuple(sorted(found[depth - 1, source] for source in sources)))
                for label, sources in zip(found[depth - 1].tolist(), feeds, strict=True)
            ]
        found[depth] = [numbers.setdefault((depth, label), len(numbers)) for label in labels]
    return found


class SubtreeKernel:
    """The kernel of a space's architectures after each of 0 to ``rounds`` rounds, 1 on an architecture with itself.

    An architecture's graph is read when it is first asked about. Raises UsageError for a space without graphs.
    """

    def __init__(self, space: Space, rounds: int) -> None:
        if space.graph(0) is None:
            raise UsageError(f"the architectures of space {space.name!r} have no graphs to compare")
        self._space, self._rounds = space, rounds
        self._numbers: dict[object, int] = {}
        self._width = 0
        self._known = np.zeros(space.size, dtype=bool)
        self._labels = np.zeros((space.size, rounds + 1, 0), dtype=np.int32)  # counted from 1; 0 for no node
        self._norms = np.zeros((space.size, rounds + 1))

    def labels(self, ids: Indices) -> Labels:
        """The labels of architectures ``[...]``: int32 ``[..., rounds + 1, nodes]``, 0 behind the last node."""
        new = np.unique(ids[~self._known[ids]])
        for index in new.tolist():
            self._read(index)
        return self._labels[ids]

    def _read(self, index: int) -> None:
        graph = self._space.graph(index)
        if graph is None:
            raise UsageError(f"architecture {index} of space {self._space.name!r} has no graph")
        found = 1 + subtrees(*operations(graph), self._rounds, self._numbers)
        nodes = found.shape[1]
        if nodes > self._width:
            wider = np.zeros((self._space.size, self._rounds + 1, nodes), dtype=np.int32)
            wider[..., : self._width] = self._labels
            self._labels, self._width = wider, nodes
        self._labels[index, :, :nodes] = found
        squares = [(np.unique(row, return_counts=True)[1].astype(np.float64) ** 2).sum() for row in found]
        self._norms[index] = np.sqrt(np.cumsum(squares))
        self._known[index] = True

    def __call__(self, one: Indices, other: Indices, rounds: Indices) -> Floats:
        """Kernels of ``[runs, m]`` with ``[runs, n]`` after ``rounds [runs]`` rounds: float64 ``[runs, m, n]``.

        Whole numbers divided by the roots of whole numbers: the same on any machine, whatever else was asked about.
        """
        a, b = self.labels(one), self.labels(other)
        pairs = np.zeros((len(one), one.shape[1], other.shape[1]), dtype=np.float32)
        for depth in range(int(rounds.max(initial=0)) + 1):
            rows = np.flatnonzero(rounds >= depth)
            left, right = (np.ascontiguousarray(side[rows, :, depth]) for side in (a, b))
            common = _present(left, len(self._numbers)) & _present(right, len(self._numbers))
            common[0] = False
            used = np.flatnonzero(common)
            local = np.zeros(len(common), dtype=np.intp)  # counted from 1; 0 for what only one side has
            local[used] = 1 + np.arange(len(used))
            counts = (_counts(local[side], len(used)) for side in (left, right))
            product = next(counts) @ next(counts).transpose(0, 2, 1)
            if len(rows) == len(pairs):
                pairs += product
            else:
                pairs[rows] += product
        norms = self._norms[one, rounds[:, None]][:, :, None] * self._norms[other, rounds[:, None]][:, None, :]
        return np.asarray(pairs / norms)


def _present(labels: Labels, most: int) -> NDArray[np.bool_]:
    """Which of the labels 0 to ``most`` occur: bool ``[most + 1]``."""
    found = np.zeros(most + 1, dtype=bool)
    found[labels.ravel()] = True
    return found


def _counts(labels: NDArray[np.intp], used: int) -> NDArray[np.float32]:
    """How often each of ``used`` labels, counted from 1, occurs: ``[runs, k, used]`` of labels ``[runs, k, nodes]``."""
    runs, k, nodes = labels.shape
    places = labels + (np.arange(runs * k) * (used + 1)).reshape(runs, k, 1)
    counted = np.bincount(places.ravel(), minlength=runs * k * (used + 1))
    return counted.reshape(runs, k, used + 1)[..., 1:].astype(np.float32)


@functools.lru_cache(maxsize=4)
def subtree_kernel(space: Space, rounds: int) -> SubtreeKernel:
    """The kernel of a space, one for the whole process: graphs are read once."""
    return SubtreeKernel(space, rounds)
