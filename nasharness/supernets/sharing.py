"""What several architectures have in common is computed once: the parts of a forward pass that `Supernet.each` shares.

Architectures come in lexicographic order, so that what they share is a path in a tree and only the current path is
kept: in tss at most some twenty feature maps of the first cell, in sss one of each layer, whatever the number of
architectures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from nasharness.nets.blocks import Head, Residual
from nasharness.nets.cell import LARGE, NONE, POOL, SKIP, SMALL, Cell
from nasharness.spaces.base import Choices
from nasharness.spaces.tss import EDGES


def distinct(choices: Choices) -> Iterator[tuple[NDArray[np.intp], list[int]]]:
    """Yield each different row of ``[n, positions]`` in lexicographic order, and the places ``[k]`` where it stands."""
    if not len(choices):
        return
    rows, inverse, counts = np.unique(choices, axis=0, return_inverse=True, return_counts=True)
    places = np.split(np.argsort(inverse.ravel(), kind="stable"), np.cumsum(counts)[:-1])
    yield from zip(places, rows.tolist(), strict=True)


class SharedCell:
    """A cell of one input ``x``, for one architecture after another: every operation on a node happens once.

    Architectures in lexicographic order make the most of it, for node 1 depends on the first choice and node 2 on the
    first three: at most 5 and 125 values, and the rest is sums.
    """

    def __init__(self, cell: Cell, x: Tensor) -> None:
        self.cell = cell
        self.nodes: list[Tensor | None] = [x, None, None]
        self.made_by: list[list[int]] = [[], [], []]  # the choices behind the value of each node
        self.outputs: list[dict[tuple[int, int], Tensor]] = [{}, {}, {}]  # of each node, by edge and operation

    def output(self, choices: list[int]) -> Tensor:
        """Return node 3 for ``choices`` ``[6]``, where edges that cannot matter have ``none``."""
        for node, prefix in ((1, choices[:1]), (2, choices[:3])):
            if self.made_by[node] != prefix:
                self.made_by[node] = prefix
                self.outputs[node].clear()
                self.nodes[node] = None
                self.nodes[node] = self._sum(node, choices)
        result = self._sum(3, choices)
        x = self.nodes[0]
        return torch.zeros_like(x) if result is None and x is not None else result  # type: ignore[return-value]

    def _sum(self, target: int, choices: list[int]) -> Tensor | None:
        terms: list[Tensor] = []
        for edge, (source, aim) in enumerate(EDGES):
            value = self.nodes[source] if aim == target and choices[edge] != NONE else None
            if value is not None:
                terms.append(self._operate(value, edge, choices[edge]))
        if len(terms) < 2:
            return terms[0] if terms else None
        total = terms[0] + terms[1]
        for term in terms[2:]:
            total += term
        return total

    def _operate(self, value: Tensor, edge: int, op: int) -> Tensor:
        if op == SKIP:
            return value
        node = EDGES[edge][0]
        memo = self.outputs[node]
        key = (edge, op) if op != POOL else (NONE, POOL)
        if key not in memo:
            if op == POOL:
                memo[key] = functional.avg_pool2d(value, 3, 1, 1, count_include_pad=False)
            else:
                rectified = memo.get((NONE, NONE))
                if rectified is None:
                    rectified = memo[NONE, NONE] = functional.relu(value)
                stack = {SMALL: self.cell.small, LARGE: self.cell.large}[op][str(node)]
                memo[key] = stack(rectified, (edge,))
        return memo[key]


def narrow_stem(features: Tensor, width: int) -> Tensor:
    """Keep the first ``width`` channels."""
    return features[:, :width].contiguous(memory_format=torch.channels_last)


def narrow_cell(cell: Cell, x: Tensor, width: int) -> Tensor:
    """The cell of sss on ``x`` ``[batch, c, ...]`` and the first ``width`` channels of its output.

    The same as with zeros for the channels that are left out, since normalisation is plain. Inside, the cell has full
    width.
    """
    c_in, full = x.shape[1], cell.c_out
    from_0, from_1, from_2 = (cast(Tensor, cell.large[str(node)].weight) for node in range(3))
    # Stacked in the order of targets, those of node 3 last: what is not needed is at the end.
    first = _plain(functional.relu(x), from_0[:, :c_in])
    second = _plain(functional.relu(first[:, :full]), from_1[: full + width])
    third = _plain(functional.relu(first[:, full:] + second[:, :full]), from_2[:width])
    output = third + second[:, full:]
    both = min(c_in, width)
    output[:, :both] += x[:, :both]
    return output


def narrow_residual(block: Residual, x: Tensor, width: int) -> Tensor:
    """A residual block on ``x`` ``[batch, c, ...]`` and the first ``width`` channels of its output."""
    c_in = x.shape[1]
    inside = block.first_norm(functional.conv2d(functional.relu(x), block.first.weight[:, :c_in], None, 2, 1))
    features = functional.conv2d(functional.relu(inside), block.second.weight[:width], padding=1)
    shortcut = functional.conv2d(functional.avg_pool2d(x, 2), block.shortcut.weight[:width, :c_in])
    return _sliced(block.second_norm, features) + shortcut


def narrow_head(head: Head, x: Tensor) -> Tensor:
    """Logits of features that have fewer channels than the head."""
    pooled = functional.relu(_sliced(head.norm, x)).mean((2, 3))
    return functional.linear(pooled, head.classifier.weight[:, : x.shape[1]], head.classifier.bias)


def _plain(x: Tensor, weight: Tensor) -> Tensor:
    features = functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return functional.batch_norm(features, None, None, training=True)


def _sliced(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    width = x.shape[1]
    running = (norm.running_mean, norm.running_var) if norm.track_running_stats else (None, None)
    state: Sequence[Tensor | None] = (*running, norm.weight, norm.bias)
    mean, variance, weight, bias = (None if value is None else value[:width] for value in state)
    return functional.batch_norm(x, mean, variance, weight, bias, training=mean is None, eps=norm.eps)
