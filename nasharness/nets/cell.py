"""The one cell of tss and sss, for a network (an operation on every edge) and for a supernet (all of them).

Convolutions of one size that leave the same node read the same input, so their weights are stored stacked: however many
of them are active, they are one convolution and one batch normalisation. ReLU and pooling of a node happen once.
An inactive operation costs nothing, nor, in a supernet, does an edge that cannot matter: one out of a node that is zero
or into a node from which nothing reaches the output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nasharness.nets.blocks import PLAIN, Norm, uniform
from nasharness.spaces.tss import EDGES, OPERATIONS

NONE, SKIP, SMALL, LARGE, POOL = range(len(OPERATIONS))
#: edges out of each of nodes 0, 1 and 2
LEAVING = tuple(tuple(edge for edge, (source, _) in enumerate(EDGES) if source == node) for node in range(3))
#: edges by source, the order of stacked weights: place of each edge in it, and the edges in it
BY_SOURCE = tuple(edge for edges in LEAVING for edge in edges)
PLACE = tuple(BY_SOURCE.index(edge) for edge in range(len(EDGES)))


@dataclass(frozen=True)
class Work:
    """What is computed from one node: for each operation, the edges that want it."""

    node: int
    skip: tuple[int, ...]
    small: tuple[int, ...]
    large: tuple[int, ...]
    pool: tuple[int, ...]


@lru_cache(maxsize=32_768)
def plan(active: bytes, prune: bool) -> tuple[Work, ...]:
    """Return the work of a cell: ``active`` holds the bytes of a bool array ``[6, 5]``, operations of each edge.

    ``prune`` leaves out the edges that cannot matter, which holds where a zero stays zero (plain normalisation).
    """
    wanted = np.frombuffer(active, dtype=np.bool_).reshape(len(EDGES), len(OPERATIONS)).copy()
    wanted[:, NONE] = False
    if prune:
        wanted[~matters(wanted)] = False
    works = []
    for node, edges in enumerate(LEAVING):
        by_op = [tuple(edge for edge in edges if wanted[edge, op]) for op in range(len(OPERATIONS))]
        if any(by_op):
            works.append(Work(node, by_op[SKIP], by_op[SMALL], by_op[LARGE], by_op[POOL]))
    return tuple(works)


def matters(active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return bool ``[..., 6]``: which edges lie on a path from node 0 to node 3, of ``active`` ``[..., 6, 5]``."""
    live: NDArray[np.bool_] = np.any(active[..., SKIP:], axis=-1, keepdims=True)[..., 0]
    from_0 = np.zeros((*live.shape[:-1], 4), dtype=np.bool_)
    to_3 = from_0.copy()
    from_0[..., 0] = to_3[..., 3] = True
    for edge, (source, target) in enumerate(EDGES):  # ascending targets
        from_0[..., target] |= live[..., edge] & from_0[..., source]
    for edge in reversed(BY_SOURCE):  # descending sources
        source, target = EDGES[edge]
        to_3[..., source] |= live[..., edge] & to_3[..., target]
    sources, targets = np.array(EDGES).T
    return np.asarray(live & from_0[..., sources] & to_3[..., targets])


def scales(weights: Tensor, channels: int) -> Tensor:
    """Spread weights of operations ``[6, 5]`` over channels: ``[5, 6, channels]``, edges in the order ``BY_SOURCE``.

    A weight goes into the normalisation behind its convolution, as that layer's scale, where it costs nothing.
    """
    ordered = torch.stack([weights[edge] for edge in BY_SOURCE], dim=1)
    return ordered[:, :, None].expand(-1, -1, channels).contiguous()


def _rows(stacked: Tensor, places: Sequence[int], size: int) -> Tensor:
    """Return the blocks ``places`` (ascending) of ``size`` rows each: a view where they are neighbours."""
    first, count = places[0], len(places)
    if places[-1] - first + 1 == count:
        return stacked[first * size : (first + count) * size]
    return torch.cat([stacked[place * size : (place + 1) * size] for place in places])


class Convolutions(nn.Module):
    """Convolutions of one size out of one node, each with its normalisation: weight ``[edges * c_out, c_in, k, k]``.

    ``edges``: those that have one, ascending.
    """

    def __init__(
        self, edges: tuple[int, ...], c_in: int, c_out: int, kernel: int, norm: Norm, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.edges, self.c_out, self.padding = edges, c_out, kernel // 2
        self.weight = nn.Parameter(torch.empty(len(edges) * c_out, c_in, kernel, kernel))
        uniform(self.weight, c_in * kernel**2, generator)
        self.norm = norm.layer(len(edges) * c_out)

    def extra_repr(self) -> str:
        """Say which edges are in the stack."""
        return f"edges={self.edges}, weight={list(self.weight.shape)}"

    def forward(self, x: Tensor, edges: tuple[int, ...], scale: Tensor | None = None) -> Tensor:
        """``[batch, c_in, side, side]`` to ``[batch, len(edges) * c_out, side, side]``.

        Another selection than all edges, and ``scale`` ``[len(edges) * c_out]``, need plain normalisation.
        """
        if edges == self.edges and scale is None:
            normalised: Tensor = self.norm(functional.conv2d(x, self.weight, padding=self.padding))
            return normalised
        weight: Tensor = self.weight
        if edges != self.edges:
            weight = _rows(weight, [self.edges.index(edge) for edge in edges], self.c_out)
        features = functional.conv2d(x, weight, padding=self.padding)
        return functional.batch_norm(features, None, None, scale, None, True, eps=self.norm.eps)


class Cell(nn.Module):
    """Nodes 0 (input) to 3 (output); a node is the sum over its incoming edges of their active operations.

    ``offered``: bool ``[6, 5]``, the operations that each edge has. Edges out of node 0 map ``c_in`` channels to
    ``c_out``, all others ``c_out`` to ``c_out``; where these differ, a skip out of node 0 is a 1x1 convolution with
    normalisation (docs/reproduction/nats-bench.md#size-space), and pooling out of node 0 is not possible
    (`ValueError`).
    """

    def __init__(
        self, offered: NDArray[np.bool_], c_in: int, c_out: int, norm: Norm, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.offered = np.ascontiguousarray(offered, dtype=np.bool_)
        self.c_in, self.c_out, self.prune = c_in, c_out, norm == PLAIN
        self.small, self.large = nn.ModuleDict(), nn.ModuleDict()
        self.projection: Convolutions | None = None
        for work in plan(self.offered.tobytes(), False):
            width = c_out if work.node else c_in
            for stack, edges, kernel in ((self.small, work.small, 1), (self.large, work.large, 3)):
                if edges:
                    stack[str(work.node)] = Convolutions(edges, width, c_out, kernel, norm, generator)
            if width != c_out:
                if work.pool:
                    raise ValueError(f"pooling cannot turn {c_in} channels into {c_out}")
                if work.skip:
                    self.projection = Convolutions(work.skip, c_in, c_out, 1, norm, generator)

    def forward(
        self,
        x: Tensor,
        active: NDArray[np.bool_] | None = None,
        weights: tuple[Tensor, Tensor] | None = None,
        shifts: Tensor | None = None,
    ) -> Tensor:
        """``[batch, c_in, side, side]`` to ``[batch, c_out, side, side]``.

        ``active``: bool ``[6, 5]``, operations to compute, of those offered; all of them by default.
        ``weights``: ``[6, 5]``, what their outputs are multiplied by, and the same as `scales` spreads them.
        ``shifts``: ``[4]``, numbers that are added to the nodes, of which 0 is the input: a node of zeros is then none.
        """
        works = plan((self.offered if active is None else active).tobytes(), self.prune and shifts is None)
        return self.compute(x, works, weights, shifts)

    def compute(
        self,
        x: Tensor,
        works: tuple[Work, ...],
        weights: tuple[Tensor, Tensor] | None = None,
        shifts: Tensor | None = None,
    ) -> Tensor:
        """Do the works of a `plan`; see `forward`."""
        nodes: list[Tensor | None] = [x, None, None, None]
        sums: set[int] = set()  # nodes whose value is a sum made here, which may be added to in place

        def value(node: int) -> Tensor:
            found = nodes[node]
            if found is None:  # of an inner node only where a zero does not stay zero
                found = x.new_zeros(x.shape[0], self.c_out, *x.shape[2:])
            return found if shifts is None or node == 0 else found + shifts[node].to(found.dtype)

        for work in works:
            self._leave(work, value(work.node), nodes, sums, weights)
        return value(3)

    def _leave(
        self,
        work: Work,
        source: Tensor,
        nodes: list[Tensor | None],
        sums: set[int],
        weights: tuple[Tensor, Tensor] | None,
    ) -> None:
        """Add to the nodes what reaches them from one node."""

        def add(edge: int, value: Tensor) -> None:
            target = EDGES[edge][1]
            before = nodes[target]
            if before is None:
                nodes[target] = value
            elif target in sums:
                before += value
            else:
                nodes[target] = before + value
                sums.add(target)

        def convolve(stack: nn.Module, edges: tuple[int, ...], op: int, x: Tensor) -> None:
            scale = None if weights is None else _scale(weights[1], op, edges)
            for edge, value in zip(edges, stack(x, edges, scale).chunk(len(edges), dim=1), strict=True):
                add(edge, value)

        def pass_on(edges: tuple[int, ...], op: int, x: Tensor) -> None:
            for edge in edges:
                add(edge, x if weights is None else x * weights[0][edge, op])

        if work.small or work.large:
            rectified = functional.relu(source)
            if work.large:
                convolve(self.large[str(work.node)], work.large, LARGE, rectified)
            if work.small:
                convolve(self.small[str(work.node)], work.small, SMALL, rectified)
        if work.skip and work.node == 0 and self.projection is not None:
            convolve(self.projection, work.skip, SKIP, source)
        else:
            pass_on(work.skip, SKIP, source)
        if work.pool:
            pass_on(work.pool, POOL, functional.avg_pool2d(source, 3, 1, 1, count_include_pad=False))


def _scale(spread: Tensor, op: int, edges: tuple[int, ...]) -> Tensor:
    return _rows(spread[op].flatten(), [PLACE[edge] for edge in edges], spread.shape[-1])
