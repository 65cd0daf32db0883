"""AutoShrink's spaces of graphs: nodes are operations, edges are tensors (docs/reproduction/autoshrink.md).

A graph has nodes 0 to n-1 and any of the edges i->j with i < j, so it has no cycles. Node 0 is the input of a cell;
every other node has an operation. Edges come in the order 0->1, 0->2, 1->2, 0->3, 1->3, 2->3, ..., as in tss; a *mask*
says which of them are there. 2^28 masks times the assignments of operations cannot be listed, so these spaces have no
indices: a graph is written as a string, ``sep3x3@0/sep3x3@0/sep3x3@0,1/conv1x1@0,2``, whose i-th part is the operation
of node i and the nodes that it reads (``-`` for none).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasharness.errors import UsageError, nearest
from nasharness.spaces.registry import register

Edge = tuple[int, int]


@cache
def edges(nodes: int) -> tuple[Edge, ...]:
    """Every possible edge (source, target) of a graph with ``nodes`` nodes, in the order of its mask."""
    return tuple((source, target) for target in range(1, nodes) for source in range(target))


@dataclass(frozen=True)
class Graph:
    """One cell. ``operations``: of nodes 1, 2, ...; ``mask``: which of ``edges(nodes)`` are there.

    Raises UsageError where the mask has another length. Hashable: equal graphs are one key of a dictionary.
    """

    operations: tuple[str, ...]
    mask: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.mask) != len(edges(self.nodes)):
            raise UsageError(
                f"mask of {len(self.mask)} edges for a graph of {self.nodes} nodes: expected {len(edges(self.nodes))}"
            )

    @classmethod
    def of(cls, operations: Sequence[str], present: Sequence[Edge]) -> Graph:
        """Make the graph with the edges ``present``; UsageError for an edge that cannot be."""
        possible = edges(len(operations) + 1)
        for edge in present:
            if tuple(edge) not in possible:
                raise UsageError(f"edge {edge} is outside a graph with nodes 0 to {len(operations)}")
        return cls(tuple(operations), tuple(edge in set(map(tuple, present)) for edge in possible))

    @property
    def nodes(self) -> int:
        """Number of nodes, node 0 included."""
        return len(self.operations) + 1

    @cached_property
    def present(self) -> tuple[Edge, ...]:
        """The edges of the mask, whether or not anything reaches them."""
        return tuple(edge for edge, there in zip(edges(self.nodes), self.mask, strict=True) if there)

    @cached_property
    def reached(self) -> tuple[bool, ...]:
        """For each node, whether a path leads to it from node 0."""
        found = [True] + [False] * (self.nodes - 1)
        for source, target in self.present:  # targets ascend, so that sources are settled
            found[target] |= found[source]
        return tuple(found)

    @cached_property
    def eligible(self) -> tuple[Edge, ...]:
        """Edges that leave reached nodes: those that count, and that can be removed."""
        return tuple((source, target) for source, target in self.present if self.reached[source])

    def inputs(self, node: int) -> tuple[int, ...]:
        """Reached nodes that ``node`` reads, ascending."""
        return tuple(source for source, target in self.eligible if target == node)

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """Reached nodes without out-edges, ascending: together they are the output of the cell."""
        sources = {source for source, _ in self.eligible}
        return tuple(node for node in range(self.nodes) if self.reached[node] and node not in sources)

    def without(self, edge: Edge) -> Graph:
        """Return the graph less ``edge``, then less every edge whose source is no longer reached (forward pruning)."""
        if edge not in self.present:
            raise UsageError(f"edge {edge[0]}->{edge[1]} is not in {self}: it has {_arrows(self.present)}")
        return self._masked([one for one in self.present if one != edge]).pruned()

    def pruned(self) -> Graph:
        """Return the graph without edges that leave nodes not reached from node 0: the same network."""
        return self if self.eligible == self.present else self._masked(self.eligible)

    def _masked(self, present: Sequence[Edge]) -> Graph:
        kept = set(present)
        return replace(self, mask=tuple(edge in kept for edge in edges(self.nodes)))

    def vector(self) -> NDArray[np.int8]:
        """The mask as int8 ``[edges]``, in the order of ``edges(nodes)``."""
        return np.array(self.mask, dtype=np.int8)

    def __str__(self) -> str:
        parts = []
        for node, operation in enumerate(self.operations, 1):
            read = [str(source) for source, target in self.present if target == node]
            parts.append(f"{operation}@{','.join(read) or '-'}")
        return "/".join(parts)


@dataclass(frozen=True)
class GraphSpace:
    """All graphs with ``nodes`` nodes. ``operations``: what a node may be; ``official``: a published assignment.

    ``needs``: what a search must be given, and ``algorithms`` which searches there are, for messages.
    """

    name: str
    summary: str
    nodes: int
    operations: tuple[str, ...]
    official: tuple[str, ...]
    balanced: bool
    needs: str
    algorithms: tuple[str, ...] = ("autoshrink", "autoshrink.official")

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Possible edges, in the order of a mask."""
        return edges(self.nodes)

    @property
    def size(self) -> int:
        """Number of masks times assignments of operations; isomorphic graphs count each."""
        return int(2 ** len(self.edges)) * int(len(self.operations) ** (self.nodes - 1))

    @property
    def string_form(self) -> str:
        """What a graph looks like as text, for messages."""
        return (
            f"op@inputs for each of nodes 1 to {self.nodes - 1}, joined by '/', with op one of "
            f"{', '.join(self.operations)}, as in {self.operations[0]}@0/{self.operations[-1]}@0,1"
        )

    def complete(self, operations: Sequence[str]) -> Graph:
        """Return the graph with every edge, where the search starts."""
        return self.checked(Graph(tuple(operations), (True,) * len(self.edges)))

    def graph(self, mask: ArrayLike, operations: Sequence[str]) -> Graph:
        """Return the graph of a mask of 0 and 1 ``[edges]``; UsageError for another length or other values."""
        array = np.asarray(mask)
        if array.shape != (len(self.edges),) or not np.isin(array, (0, 1)).all():
            raise UsageError(
                f"mask of space {self.name}: expected {len(self.edges)} zeros and ones, got {array.tolist()!r:.80}"
            )
        return self.checked(Graph(tuple(operations), tuple(bool(bit) for bit in array)))

    def assign(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Draw an operation for each of nodes 1, 2, ...

        shrink-cnn: the operations by turns, as many of each as fits, shuffled (over the real nodes: autoshrink.md#q13
        fixed). shrink-rnn: independent and uniform.
        """
        count = self.nodes - 1
        if not self.balanced:
            return tuple(self.operations[int(number)] for number in rng.integers(len(self.operations), size=count))
        turns = [self.operations[node % len(self.operations)] for node in range(count)]
        return tuple(turns[int(place)] for place in rng.permutation(count))

    def checked(self, graph: Graph) -> Graph:
        """Return ``graph``, or raise UsageError where it has other operations or more nodes than the space."""
        if graph.nodes > self.nodes:
            raise UsageError(f"graph {graph} has {graph.nodes} nodes, space {self.name} at most {self.nodes}")
        for node, operation in enumerate(graph.operations, 1):
            if operation not in self.operations:
                close = ", ".join(nearest(operation, self.operations))
                raise UsageError(
                    f"operation {operation!r} of node {node} is not one of space {self.name} (nearest: {close})"
                )
        return graph

    def parse(self, text: str) -> Graph:
        """Return the graph of a string; raises UsageError quoting the part that is wrong."""

        def wrong(why: str) -> UsageError:
            return UsageError(f"{text[:200]!r} is not a graph of space {self.name}: {why}; expected {self.string_form}")

        operations, present = [], []
        for node, part in enumerate(text.strip().split("/"), 1):
            operation, separator, read = (piece.strip() for piece in part.partition("@"))
            if not separator:
                raise wrong(f"node {node}, {part!r}, has no '@'")
            if operation not in self.operations:
                close = ", ".join(nearest(operation, self.operations))
                raise wrong(f"node {node} has the unknown operation {operation!r} (nearest: {close})")
            sources = [] if read == "-" else [source.strip() for source in read.split(",")]
            for source in sources:
                if not (source.isascii() and source.isdigit() and len(source) < 3 and int(source) < node):
                    raise wrong(f"node {node} cannot read {source!r}, only the nodes before it")
                present.append((int(source), node))
            operations.append(operation)
        if len(operations) >= self.nodes:
            raise wrong(f"it has {len(operations)} nodes besides node 0 where {self.nodes - 1} are the most")
        return Graph.of(operations, present)

    def read(self, winner: Mapping[str, Any]) -> Graph:
        """Return the graph of a winner's record: key ``arch`` (a string), or ``mask`` and ``operations``."""
        if isinstance(winner.get("arch"), str):
            return self.parse(winner["arch"])
        if "mask" in winner and "operations" in winner:
            operations = winner["operations"]
            if not (isinstance(operations, list | tuple) and all(isinstance(name, str) for name in operations)):
                raise UsageError(f"operations {operations!r:.80}: expected a list of {', '.join(self.operations)}")
            bits = winner["mask"]
            if not isinstance(bits, list | tuple) or any(bit not in (0, 1) for bit in bits):
                raise UsageError(f"mask {bits!r:.80}: expected zeros and ones, one for each edge")
            return self.checked(Graph(tuple(operations), tuple(bool(bit) for bit in bits)))
        raise UsageError(
            f"winner of space {self.name} {dict(winner)!r:.120}: expected the key arch, or mask and operations"
        )


def official_assignment(space: GraphSpace, seed: int = 5) -> tuple[str, ...]:
    """Operations as the official CNN code draws them, with its global numpy seed 5.

    28 uniforms for the edges come first; then the operations by turns, one for every node with node 0's, are shuffled,
    and node 0's is thrown away (docs/reproduction/autoshrink.md#q13).
    """
    stream = np.random.RandomState(seed)  # noqa: NPY002 - the generator whose draws are to be reproduced; not the global one
    stream.random_sample(len(space.edges))
    drawn = [space.operations[node % len(space.operations)] for node in range(space.nodes)]
    stream.shuffle(drawn)
    return tuple(drawn[1:])


def _arrows(present: Sequence[Edge]) -> str:
    return ", ".join(f"{source}->{target}" for source, target in present) or "no edges"


SEPARABLE, POINTWISE = "sep3x3", "conv1x1"
ACTIVATIONS = ("relu", "sigmoid", "tanh", "identity")

#: Convolutional cells: separable 3x3 or plain 1x1 convolutions on the concatenation of their inputs.
CNN = register(
    GraphSpace(
        name="shrink-cnn",
        summary="AutoShrink's convolutional cells: 8 nodes, any of 28 edges",
        nodes=8,
        operations=(SEPARABLE, POINTWISE),
        official=(POINTWISE, SEPARABLE, POINTWISE, POINTWISE, SEPARABLE, SEPARABLE, POINTWISE),
        balanced=True,
        needs="--images NAME [--data DIR]",
    )
)
#: Recurrent cells: an activation at each node, a matrix at each edge. The official code draws activations
#: unseeded; its published cell's stand here.
RNN = register(
    GraphSpace(
        name="shrink-rnn",
        summary="AutoShrink's recurrent cells: 6 nodes, any of 15 edges",
        nodes=6,
        operations=ACTIVATIONS,
        official=("identity", "sigmoid", "sigmoid", "tanh", "identity"),
        balanced=False,
        needs="--text DIR",
    )
)

#: The cell of ShrinkCNN-A and -B: 6 of 28 edges (docs/reproduction/autoshrink.md#published-networks).
SHRINKCNN = Graph.of((SEPARABLE, SEPARABLE, SEPARABLE, POINTWISE), ((0, 1), (0, 2), (0, 3), (1, 3), (0, 4), (2, 4)))
#: The cell of ShrinkRNN: 12 of 15 edges.
SHRINKRNN = Graph.of(
    RNN.official,
    ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 3), (1, 4), (1, 5), (2, 4), (2, 5), (3, 4), (3, 5)),
)
