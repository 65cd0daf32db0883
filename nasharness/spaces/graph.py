"""Which operation joins what: the graph of one architecture, and the skeleton that all of a space may share.

Drawing, reachability, isomorphism, pruning and kernels read these; nothing else knows how a cell is wired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Edge = tuple[int, int, str]


@dataclass(frozen=True)
class LabelledGraph:
    """One architecture as a graph without cycles: nodes in topological order, the first its input, the last its output.

    ``nodes``: a label for each node, an operation where nodes carry them, else a name. ``edges``: (source, target,
    operation), the operation empty where nodes carry them. ``absent``: the operation that carries nothing.
    """

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]
    absent: str = "none"

    def reached(self) -> tuple[list[bool], list[bool]]:
        """Return, for each node, whether a path leads to it from the input, and from it to the output."""
        fed, read = [False] * len(self.nodes), [False] * len(self.nodes)
        fed[0] = read[-1] = True
        for source, target, operation in sorted(self.edges):
            fed[target] |= fed[source] and operation != self.absent
        for source, target, operation in sorted(self.edges, reverse=True):
            read[source] |= read[target] and operation != self.absent
        return fed, read

    def live(self) -> tuple[bool, ...]:
        """Return, for each edge, whether it carries anything from the input to the output."""
        fed, read = self.reached()
        return tuple(
            operation != self.absent and fed[source] and read[target] for source, target, operation in self.edges
        )


def chain(operations: Sequence[str]) -> LabelledGraph:
    """The graph of layers one after the other, between an input and an output; nodes carry the operations."""
    nodes = ("input", *operations, "output")
    return LabelledGraph(nodes, tuple((node, node + 1, "") for node in range(len(nodes) - 1)))


@dataclass(frozen=True)
class Skeleton:
    """A fixed set of edges whose operations an architecture chooses, one for each position of its space.

    ``nodes``: names, in topological order. ``edges``: (source, target) of each position, sorted by target.
    ``absent``: number of the option that carries nothing. ``identity``: of the one that passes its input on as it is.
    """

    nodes: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    absent: int
    identity: int | None = None

    def graph(self, operations: Sequence[str], absent: str) -> LabelledGraph:
        """The graph with these operations, one for each edge."""
        return LabelledGraph(
            self.nodes,
            tuple((*edge, operation) for edge, operation in zip(self.edges, operations, strict=True)),
            absent,
        )

    def fed(self, choices: ArrayLike) -> NDArray[np.bool_]:
        """Which nodes a path leads to from the input: bool ``[..., nodes]`` of choices ``[..., positions]``."""
        live = np.asarray(choices) != self.absent
        fed = np.zeros((*live.shape[:-1], len(self.nodes)), dtype=np.bool_)
        fed[..., 0] = True
        for position, (source, target) in enumerate(self.edges):
            fed[..., target] |= live[..., position] & fed[..., source]
        return fed

    def pruned(self, choices: NDArray[np.int8]) -> NDArray[np.int8]:
        """The same choices ``[..., positions]`` without the edges that leave nodes not reached from the input."""
        sources = np.array([source for source, _ in self.edges])
        return np.where(self.fed(choices)[..., sources], choices, np.int8(self.absent))

    def live(self, choices: ArrayLike) -> NDArray[np.bool_]:
        """Which edges carry anything from the input to the output: bool ``[..., positions]``."""
        present = np.asarray(choices) != self.absent
        fed, read = self.fed(choices), np.zeros((*present.shape[:-1], len(self.nodes)), dtype=np.bool_)
        read[..., -1] = True
        for position in sorted(range(len(self.edges)), key=lambda place: -self.edges[place][0]):
            source, target = self.edges[position]
            read[..., source] |= present[..., position] & read[..., target]
        sources, targets = np.array(self.edges).T
        return np.asarray(present & fed[..., sources] & read[..., targets])

    def paths(self) -> list[list[int]]:
        """All paths from the first node to the last, as positions in order."""
        found: list[list[int]] = []
        open_paths: list[tuple[int, list[int]]] = [(0, [])]
        while open_paths:
            node, path = open_paths.pop()
            if node == len(self.nodes) - 1:
                found.append(path)
                continue
            open_paths += [(target, [*path, at]) for at, (source, target) in enumerate(self.edges) if source == node]
        return found
