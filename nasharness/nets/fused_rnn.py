"""The recurrent cell of :mod:`nasharness.nets.shrinkrnn` over a segment of text: few large products, not many small.

Same parameters, same numbers (tested in float64, gradients too). What makes it faster, on a CPU and on a GPU alike:

- the input half of W0 is applied to all time steps in one product;
- edges that leave the same node share their left factor, so they are one product;
- the gradient is written out by hand, so that the gradient of every weight is one product over all time steps, where
  automatic differentiation makes one small product a time step;
- a time step is a function without side effects, which ``torch.compile`` fuses between the products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from nasharness.nets.graphed_rnn import Graphs
from nasharness.nets.shrinkrnn import Recurrence, RecurrentCell

Groups = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Fanout:
    """A node and the nodes its edges lead to, in the order of the columns of their common weight.

    ``edges``: the numbers of those edges. ``groups``: (activation, first, last + 1) over ``targets``, which are sorted
    so that equal activations are neighbours.
    """

    node: int
    targets: tuple[int, ...]
    edges: tuple[int, ...]
    groups: Groups


@dataclass(frozen=True)
class Plan:
    """In what order a cell is computed. ``incoming``: edges into each node."""

    sources: tuple[Fanout, ...]
    incoming: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, graph: Recurrence) -> Plan:
        """Plan the cell of a graph."""

        def order(edge: tuple[int, int]) -> tuple[str, int]:
            return graph.activations[edge[1] - 1], edge[1]

        sources = []
        for node in range(graph.nodes):
            leaving = sorted((edge for edge in graph.edges if edge[0] == node), key=order)
            if leaving:
                names = [order(edge)[0] for edge in leaving]
                sources.append(
                    Fanout(
                        node,
                        tuple(target for _, target in leaving),
                        tuple(graph.edges.index(edge) for edge in leaving),
                        tuple(
                            (name, names.index(name), names.index(name) + names.count(name))
                            for name in sorted(set(names))
                        ),
                    )
                )
        return cls(tuple(sources), tuple(len(graph.inputs(node)) for node in range(graph.nodes)), graph.outputs)


class FusedCell(RecurrentCell):
    """A :class:`RecurrentCell`, faster.

    ``dtype``: of the products (states and gates stay in the dtype of ``x``); None: that of ``x``. ``compiled``: fuse
    each time step with ``torch.compile``, which needs Triton on a GPU and a C++ compiler elsewhere; on a GPU a segment
    then is a CUDA graph, too.
    """

    dtype: torch.dtype | None = None
    compiled = False

    @cached_property
    def plan(self) -> Plan:
        """How the cell is computed."""
        return Plan.of(self.recurrence)

    def forward(
        self, x: Tensor, state: Tensor, input_mask: Tensor | None = None, state_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As the reference. Masks have no gradient."""
        if self.compiled and x.is_cuda:
            masks = [
                state.new_ones(x.shape[1], width) if mask is None else mask
                for mask, width in ((input_mask, self.inputs), (state_mask, self.hidden))
            ]
            outputs = self.graphs(x, state, *masks, self.input_weight, self.edge_weights)
        else:
            outputs = self._segment(x, state, input_mask, state_mask, self.input_weight, self.edge_weights)
        return outputs, outputs[-1]

    @cached_property
    def graphs(self) -> Graphs:
        """Segments as CUDA graphs."""
        return Graphs(self._segment)

    def _segment(
        self,
        x: Tensor,
        state: Tensor,
        input_mask: Tensor | None,
        state_mask: Tensor | None,
        input_weight: Tensor,
        edge_weights: Tensor,
    ) -> Tensor:
        dtype = self.dtype or x.dtype
        matrices = edge_weights.unbind()
        width = self.hidden
        packed = []
        for source in self.plan.sources:
            parts = [matrices[edge] for edge in source.edges]
            packed.append(torch.cat([part[:, :width] for part in parts] + [part[:, width:] for part in parts], dim=1))
        masked = x if input_mask is None else x * input_mask
        projected = torch.matmul(masked.to(dtype), input_weight[: self.inputs].to(dtype)).to(x.dtype)
        outputs: Tensor = _Segment.apply(  # type: ignore[no-untyped-call]
            self.plan, dtype, self.compiled, projected, state, state_mask, input_weight[self.inputs :], *packed
        )
        return outputs


def _gates(pre: Tensor, groups: Groups, count: int) -> tuple[Tensor, Tensor]:
    """Turn products ``[batch, 2 count, H]`` into gates sigmoid(c) and candidates phi(h), each ``[batch, count, H]``."""
    gate, candidate = pre[:, :count].sigmoid_(), pre[:, count:]
    for name, first, last in groups:
        if name != "identity":
            getattr(candidate[:, first:last], f"{name}_")()
    return gate, candidate


def _slopes(candidate: Tensor, groups: Groups, grad: Tensor) -> Tensor:
    """Multiply ``grad`` with the derivative of each candidate's activation, which its value gives."""
    parts = []
    for name, first, last in groups:
        value, part = candidate[:, first:last], grad[:, first:last]
        if name == "tanh":
            part = part * (1 - value * value)
        elif name == "sigmoid":
            part = part * (value * (1 - value))
        elif name == "relu":
            part = part * (value > 0)
        parts.append(part)
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _step(
    plan: Plan,
    dtype: torch.dtype,
    projected: Tensor,
    state: Tensor,
    mask: Tensor | None,
    w0: Tensor,
    packed: list[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """One time step: the new state, and what the gradient needs, four tensors for node 0 and for each source."""
    batch, width = state.shape
    kept: list[Tensor] = []

    def product(node_state: Tensor, weight: Tensor, count: int) -> Tensor:
        factor = (node_state if mask is None else node_state * mask).to(dtype)
        kept.append(factor)
        return torch.mm(factor, weight).to(node_state.dtype).view(batch, 2 * count, width)

    gate, candidate = _gates(product(state, w0, 1) + projected.view(batch, 2, width), (("tanh", 0, 1),), 1)
    nodes: dict[int, Tensor] = {0: torch.lerp(state, candidate[:, 0], gate[:, 0])}
    kept += [state, gate, candidate]
    for source, weight in zip(plan.sources, packed, strict=True):
        here = nodes[source.node]
        if plan.incoming[source.node] > 1:
            here = nodes[source.node] = here / plan.incoming[source.node]
        count = len(source.targets)
        gate, candidate = _gates(product(here, weight, count), source.groups, count)
        kept += [here, gate, candidate]
        arriving = torch.lerp(here[:, None], candidate, gate)
        for place, target in enumerate(source.targets):
            nodes[target] = nodes[target] + arriving[:, place] if target in nodes else arriving[:, place]
    divided = {source.node for source in plan.sources}
    ends = [nodes[node] if node in divided else nodes[node] / max(plan.incoming[node], 1) for node in plan.outputs]
    return sum(ends[1:], ends[0]) / len(ends), kept


def _step_backward(
    plan: Plan,
    dtype: torch.dtype,
    grad: Tensor,
    mask: Tensor | None,
    w0: Tensor,
    packed: list[Tensor],
    kept: list[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """Gradient of :func:`_step`: of the state before it, and of the products of node 0 and of each source."""
    batch, width = grad.shape
    nodes: dict[int, Tensor] = dict.fromkeys(plan.outputs, grad / len(plan.outputs))
    products: list[Tensor] = []
    shared: set[int] = set()

    def through(
        here: Tensor,
        gate: Tensor,
        candidate: Tensor,
        arrived: Tensor,
        weight: Tensor,
        groups: Groups,
    ) -> Tensor:
        passed = arrived * gate
        outer = passed * (1 - gate) * (candidate - here[:, None])
        pre = torch.cat([outer, _slopes(candidate, groups, passed)], dim=1).view(batch, -1).to(dtype)
        products.append(pre)
        back = torch.mm(pre, weight.t()).to(grad.dtype)
        return (back if mask is None else back * mask) + (arrived - passed).sum(dim=1)

    for place in range(len(plan.sources) - 1, -1, -1):
        source = plan.sources[place]
        _, here, gate, candidate = kept[4 * place + 4 : 4 * place + 8]
        for target in source.targets:  # nothing is added to a target any more: all it leads to has been passed
            nodes.setdefault(target, torch.zeros_like(grad))  # read by nobody, and no output
            if plan.incoming[target] > 1 and target not in shared:
                nodes[target] = nodes[target] / plan.incoming[target]
                shared.add(target)
        arrived = torch.stack([nodes[target] for target in source.targets], dim=1)
        part = through(here, gate, candidate, arrived, packed[place], source.groups)
        nodes[source.node] = nodes[source.node] + part if source.node in nodes else part
    _, here, gate, candidate = kept[:4]
    previous = through(here, gate, candidate, nodes[0][:, None], w0, (("tanh", 0, 1),))
    return previous, products[::-1]


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    fused: Callable[..., Any] = torch.compile(function, dynamic=False)
    return fused


class _Segment(torch.autograd.Function):
    """:func:`_step` over time, and its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        dtype: torch.dtype,
        compiled: bool,
        projected: Tensor,
        state: Tensor,
        mask: Tensor | None,
        w0: Tensor,
        *packed: Tensor,
    ) -> Tensor:
        step = _compiled(_step) if compiled else _step
        low = [weight.to(dtype) for weight in (w0, *packed)]
        outputs, history = [], []
        for now in projected.unbind():
            state, kept = step(plan, dtype, now, state, mask, low[0], low[1:])
            outputs.append(state)
            history.append(kept)
        ctx.plan, ctx.dtype, ctx.compiled, ctx.mask = plan, dtype, compiled, mask
        ctx.history, ctx.low, ctx.weight_dtype = history, low, w0.dtype
        return torch.stack(outputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        plan, dtype, history, low = ctx.plan, ctx.dtype, ctx.history, ctx.low
        step = _compiled(_step_backward) if ctx.compiled else _step_backward
        slots = len(low)
        products: list[list[Tensor]] = []
        previous = torch.zeros_like(grad[0])
        for time in range(len(history) - 1, -1, -1):
            previous, made = step(plan, dtype, grad[time] + previous, ctx.mask, low[0], low[1:], history[time])
            products.append(made)
        products.reverse()
        weights = []
        for slot in range(slots):
            factors = torch.cat([kept[4 * slot] for kept in history])
            weights.append(torch.mm(factors.t(), torch.cat([made[slot] for made in products])).to(ctx.weight_dtype))
        inner = torch.stack([made[0] for made in products]).to(grad.dtype)
        ctx.history = None  # the segment's states are done with; free them before the optimiser steps
        return None, None, None, inner, previous, None, *weights
