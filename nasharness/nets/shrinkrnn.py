"""Recurrent cells given as graphs: AutoShrink's and, as a special case, DARTS's.

docs/reproduction/autoshrink.md#recurrent-search has the published ones.

With [c, h] the two halves of a product and * elementwise:

    node 0:  [c, h] = [x, s] W0;         s_0  = s   + sigmoid(c) * (tanh(h) - s)
    edge:    [c, h] = s_i W_ij;          s_ij = s_i + sigmoid(c) * (phi_j(h) - s_i)
    node j:  s_j = mean over its edges;  new state = mean over the output nodes

phi_j is the activation of the edge's target. Every edge has a matrix of its own (DARTS: one edge a node). This is the
plain form, one step of time after the other, against which faster ones are tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nasharness.errors import UsageError, unknown
from nasharness.nets.initialise import seeded
from nasharness.spaces.shrink import ACTIVATIONS, SHRINKRNN, Graph

#: Activation -> its function.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "identity": lambda h: h,
}


@dataclass(frozen=True)
class Recurrence:
    """The graph of a recurrent cell.

    ``activations``: of nodes 1, 2, ...; node 0's is tanh. ``edges``: (source, target), ascending, which is the order
    of the matrices. ``outputs``: nodes whose mean is the new state. Every node but 0 has an edge
    that enters it. Raises UsageError where this does not hold.
    """

    activations: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    outputs: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in self.activations:
            if name not in FUNCTIONS:
                raise unknown("activation", name, ACTIVATIONS)
        nodes = range(len(self.activations) + 1)
        if list(self.edges) != sorted(set(self.edges)):
            raise UsageError(f"edges {self.edges}: expected each once and in ascending order")
        for source, target in self.edges:
            if not (0 <= source < target and target in nodes):
                raise UsageError(f"edge {source}->{target} is outside a cell with nodes 0 to {nodes[-1]}")
        for node in nodes[1:]:
            if not self.inputs(node):
                raise UsageError(f"node {node} of a recurrent cell reads nothing")
        if not self.outputs or any(node not in nodes for node in self.outputs):
            raise UsageError(f"outputs {self.outputs}: expected at least one of nodes 0 to {nodes[-1]}")

    @property
    def nodes(self) -> int:
        """Number of nodes, node 0 included."""
        return len(self.activations) + 1

    def inputs(self, node: int) -> tuple[int, ...]:
        """Nodes that ``node`` reads, ascending."""
        return tuple(source for source, target in self.edges if target == node)

    @classmethod
    def of(cls, graph: Graph) -> Recurrence:
        """The cell of a graph of space shrink-rnn: its reached nodes, numbered anew; its leaves are the outputs."""
        kept = [node for node in range(graph.nodes) if graph.reached[node]]
        number = {node: new for new, node in enumerate(kept)}
        return cls(
            activations=tuple(graph.operations[node - 1] for node in kept[1:]),
            edges=tuple(sorted((number[source], number[target]) for source, target in graph.eligible)),
            outputs=tuple(number[leaf] for leaf in graph.leaves),
        )


#: The published cell: 12 edges, outputs 4 and 5.
PUBLISHED = Recurrence.of(SHRINKRNN)
#: Width of embedding and state, and vocabulary, of the published network (Penn Treebank).
PUBLISHED_WIDTH, PUBLISHED_VOCABULARY = 745, 10_000


class RecurrentCell(nn.Module):
    """``forward(x [time, batch, inputs], state [batch, hidden]) -> (outputs [time, batch, hidden], last state)``.

    Parameters: ``input_weight`` ``[inputs + hidden, 2 * hidden]`` (W0; rows of x first) and ``edge_weights``
    ``[edges, hidden, 2 * hidden]``; in each the columns of c come first. No biases. Uniform in +-0.04.
    """

    def __init__(
        self,
        recurrence: Recurrence,
        hidden: int,
        *,
        inputs: int | None = None,
        bound: float = 0.04,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.recurrence, self.hidden, self.inputs = recurrence, hidden, hidden if inputs is None else inputs
        draw = seeded(generator)
        self.input_weight = nn.Parameter(_uniform((self.inputs + hidden, 2 * hidden), bound, draw))
        self.edge_weights = nn.Parameter(_uniform((len(recurrence.edges), hidden, 2 * hidden), bound, draw))

    def forward(
        self, x: Tensor, state: Tensor, input_mask: Tensor | None = None, state_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over time. Masks (dropout, 0 or 1/keep) are shared by all times, the state's also by all nodes.

        ``input_mask``: ``[batch, inputs]``, on x; ``state_mask``: ``[batch, hidden]``, on what W0 and W_ij read of
        states. None for none.
        """
        outputs = []
        for moment in x.unbind(0):
            state = self.step(moment, state, input_mask, state_mask)
            outputs.append(state)
        return torch.stack(outputs), state

    def step(self, x: Tensor, state: Tensor, input_mask: Tensor | None, state_mask: Tensor | None) -> Tensor:
        """One step of time: ``x [batch, inputs]``, ``state [batch, hidden]`` -> new state ``[batch, hidden]``."""

        def masked(value: Tensor, mask: Tensor | None) -> Tensor:
            return value if mask is None else value * mask

        joined = torch.cat([masked(x, input_mask), masked(state, state_mask)], dim=-1)
        states = [_gated(joined @ self.input_weight, state, torch.tanh)]
        weights = dict(zip(self.recurrence.edges, self.edge_weights, strict=True))
        for node, name in enumerate(self.recurrence.activations, 1):
            arriving = []
            for source in self.recurrence.inputs(node):
                product = masked(states[source], state_mask) @ weights[source, node]
                arriving.append(_gated(product, states[source], FUNCTIONS[name]))
            states.append(_mean(arriving))
        return _mean([states[node] for node in self.recurrence.outputs])


class RecurrentNet(nn.Module):
    """A word-level language model: embedding, cell, and a decoder that shares the embedding's weights, with a bias.

    ``forward(tokens int64 [time, batch], state [batch, width]) -> (logits [time, batch, vocabulary], last state)``.
    Embedding uniform in +-0.04 and the bias 0 (docs/reproduction/training.md#penn-treebank). Parameters of the
    published network: 23,000,700, against 24M in its README (docs/reproduction/autoshrink.md#published-networks).
    """

    def __init__(
        self,
        recurrence: Recurrence = PUBLISHED,
        vocabulary: int = PUBLISHED_VOCABULARY,
        width: int = PUBLISHED_WIDTH,
        *,
        cell: type[RecurrentCell] = RecurrentCell,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        draw = seeded(generator)
        self.embedding = nn.Parameter(_uniform((vocabulary, width), 0.04, draw))
        self.cell = cell(recurrence, width, generator=draw)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if state is None:
            state = self.embedding.new_zeros(tokens.shape[1], self.cell.hidden)
        outputs, state = self.cell(nn.functional.embedding(tokens, self.embedding), state)
        return nn.functional.linear(outputs, self.embedding, self.bias), state


def parameters(recurrence: Recurrence, width: int, vocabulary: int) -> int:
    """Closed form: tied embedding, decoder bias, W0 and one matrix an edge, with equal widths of word and state."""
    return vocabulary * (width + 1) + 4 * width**2 + 2 * width**2 * len(recurrence.edges)


def _gated(product: Tensor, source: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    gate, candidate = product.chunk(2, dim=-1)
    return source + torch.sigmoid(gate) * (function(candidate) - source)


def _mean(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / len(parts) if len(parts) > 1 else total


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return torch.empty(shape).uniform_(-bound, bound, generator=generator)
