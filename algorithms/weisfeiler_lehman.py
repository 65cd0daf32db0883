"""Weisfeiler-Lehman kernels of architectures, read off `Space.graph` and kept for as long as the process lives.

N. Shervashidze, P. Schweitzer, E. J. van Leeuwen, K. Mehlhorn, K. M. Borgwardt: Weisfeiler-Lehman Graph Kernels, JMLR
2011. A node's first label is its operation; round after round it becomes the pair of its label and the sorted labels of
the nodes that feed it. The kernel of two graphs is the number of pairs of equal labels over all rounds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from nasharness.algorithms.labels import LabelCounts, Labels

from nasharness.errors import UsageError
from nasharness.spaces.base import Floats, Indices, Space
from nasharness.spaces.graph import LabelledGraph


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


class SubtreeKernel(LabelCounts):
    """The kernel of a space's architectures after each of 0 to ``rounds`` rounds, 1 on an architecture with itself.

    An architecture's graph is read when it is first asked about. Raises UsageError for a space without graphs.
    """

    def __init__(self, space: Space, rounds: int) -> None:
        if space.graph(0) is None:
            raise UsageError(f"the architectures of space {space.name!r} have no graphs to compare")
        super().__init__(space, rounds + 1)

    def _read(self, index: int) -> Labels:
        graph = self._space.graph(index)
        if graph is None:
            raise UsageError(f"architecture {index} of space {self._space.name!r} has no graph")
        return subtrees(*operations(graph), self._levels - 1, self._numbers)

    def __call__(self, one: Indices, other: Indices, rounds: Indices) -> Floats:
        """Kernels of ``[runs, m]`` with ``[runs, n]`` after ``rounds [runs]`` rounds: float64 ``[runs, m, n]``.

        Whole numbers divided by the roots of whole numbers: the same on any machine, whatever else was asked about.
        """
        pairs = self.pairs(one, other, rounds)
        squares = [np.sqrt(self.squares(ids, rounds)) for ids in (one, other)]
        return np.asarray(pairs / (squares[0][:, :, None] * squares[1][:, None, :]))


@functools.lru_cache(maxsize=4)
def subtree_kernel(space: Space, rounds: int) -> SubtreeKernel:
    """The kernel of a space, one for the whole process: graphs are read once."""
    return SubtreeKernel(space, rounds)
